"""Training: a plan, prepared tensors, one loop for every method, and the package at the end."""

from genaug.parameters import TrainingOptions
from genaug.training.plan import TrainingPlan, make_plan
from genaug.training.run import run_training, train, training_folder

__all__ = ["TrainingOptions", "TrainingPlan", "make_plan", "run_training", "train", "training_folder"]
