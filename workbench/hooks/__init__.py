"""Reading and editing activations of any torch model: sites (where), clocks (when), sessions (how long)."""

from workbench.hooks.attention import AttentionRecorder, AttentionSite
from workbench.hooks.calls import Calls, Component
from workbench.hooks.clock import Clock, Role, Step
from workbench.hooks.session import Session
from workbench.hooks.site import Activation, Site, SiteEdit, Transform
from workbench.hooks.tokens import Place, Places, Tokens
from workbench.hooks.wiring import Wiring

__all__ = [
    "Activation",
    "AttentionRecorder",
    "AttentionSite",
    "Calls",
    "Clock",
    "Component",
    "Place",
    "Places",
    "Role",
    "Session",
    "Site",
    "SiteEdit",
    "Step",
    "Tokens",
    "Transform",
    "Wiring",
]
