import os
import sys
from pathlib import Path

# These tests are of what a CPU does, where the same seed gives the same bits: "auto" must not choose a GPU that is
# there. Those of a GPU are in Testing/gpu.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

sys.path.insert(0, str(Path(__file__).parent))
