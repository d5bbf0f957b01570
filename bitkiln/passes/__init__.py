"""Transformations of the Graph: canonical form, fixed point, fine-tuning; accuracy; and from Graph to Plan."""

from ._base import Checkpoints, Context, Keeps, Pass, Progress, Weights, no_progress
from ._importance import Criterion
from ._kmeans import Initialisation
from ._methods import ActivationMethod, WeightMethod
from ._objectives import LayerDropout, Loss, Optimizer, Schedule
from ._order import check_order
from ._pipeline import PASSES, Canonicalise, read_passes, run_passes
from ._quantisable import check_quantisable
from ._shared import unshare
from .accuracy import accuracy, class_count, top_node
from .binarise import Binarise, BinaryActivations, BinaryWeights, Scores
from .board_folding import BoardFolding, LayerChoice, NextStep
from .calibrate import Calibration, calibrate
from .canonicalise import canonicalise
from .channel_groups import ChannelGroup, Member, groups
from .code import Code
from .dead import RemoveDead, remove_dead
from .fake_quantise import FakeQuantise, LayerMethod
from .freeze_powers import FreezePowers
from .gradual_prune import Curve, GradualPrune
from .harden import Harden, harden
from .hash_weights import HashStart, HashWeights, LayerHash
from .prune import LayerDensity, Prune, Scope
from .prune_channels import LayerChannels, PruneChannels
from .quantise import LayerBits, Quantise
from .schedule import Goal, LayerFolding, PlanOptions, schedule, schedule_explained
from .share import LayerShare, Share
from .share_vectors import LayerVectors, ShareVectors
from .tune import Tune

__all__ = [
    "PASSES",
    "ActivationMethod",
    "Binarise",
    "BinaryActivations",
    "BinaryWeights",
    "BoardFolding",
    "Calibration",
    "Canonicalise",
    "ChannelGroup",
    "Checkpoints",
    "Code",
    "Context",
    "Criterion",
    "Curve",
    "FakeQuantise",
    "FreezePowers",
    "Goal",
    "GradualPrune",
    "Harden",
    "HashStart",
    "HashWeights",
    "Initialisation",
    "Keeps",
    "LayerBits",
    "LayerChannels",
    "LayerChoice",
    "LayerDensity",
    "LayerDropout",
    "LayerFolding",
    "LayerHash",
    "LayerMethod",
    "LayerShare",
    "LayerVectors",
    "Loss",
    "Member",
    "NextStep",
    "Optimizer",
    "Pass",
    "PlanOptions",
    "Progress",
    "Prune",
    "PruneChannels",
    "Quantise",
    "RemoveDead",
    "Schedule",
    "Scope",
    "Scores",
    "Share",
    "ShareVectors",
    "Tune",
    "WeightMethod",
    "Weights",
    "accuracy",
    "calibrate",
    "canonicalise",
    "check_order",
    "check_quantisable",
    "class_count",
    "groups",
    "harden",
    "no_progress",
    "read_passes",
    "remove_dead",
    "run_passes",
    "schedule",
    "schedule_explained",
    "top_node",
    "unshare",
]
