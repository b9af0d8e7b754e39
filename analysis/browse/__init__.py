"""Pictures and pages: the one room that draws."""

from analysis.browse.diagrams import phase_diagram_map
from analysis.browse.maps import Picture, landscape_map, save, variable_map
from analysis.browse.pictures import atom_maps, endmember_maps, measured_maps, neighborhood_maps

__all__ = [
    "Picture",
    "atom_maps",
    "endmember_maps",
    "landscape_map",
    "measured_maps",
    "neighborhood_maps",
    "phase_diagram_map",
    "save",
    "variable_map",
]
