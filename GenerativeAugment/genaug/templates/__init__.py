"""A cohort from one annotated template: diffeomorphic deformation and label-to-image draws."""
