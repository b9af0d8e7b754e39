"""Pictures and pages: the one room that draws."""

from analysis.browse.configurations import configuration_chart
from analysis.browse.diagrams import phase_diagram_map
from analysis.browse.maps import Picture, landscape_map, save, variable_map
from analysis.browse.pictures import atom_maps, endmember_maps, measured_maps, neighborhood_maps
from analysis.browse.snapshots import snapshot_map

__all__ = [
    "Picture",
    "atom_maps",
    "configuration_chart",
    "endmember_maps",
    "landscape_map",
    "measured_maps",
    "neighborhood_maps",
    "phase_diagram_map",
    "save",
    "snapshot_map",
    "variable_map",
]
