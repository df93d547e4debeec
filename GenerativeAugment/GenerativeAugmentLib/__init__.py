"""The Slicer side of GenerativeAugment: jobs, scene, panels. Nothing here imports torch or `genaug`."""
