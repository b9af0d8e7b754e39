from .calibration import calibration_chart as calibration_chart
from .diagrams import phase_diagram_map as phase_diagram_map
from .looks import Picture as Picture
from .maps import landscape_map as landscape_map
from .maps import save as save
from .maps import variable_map as variable_map
from .pictures import atom_maps as atom_maps
from .pictures import endmember_maps as endmember_maps
from .pictures import measured_maps as measured_maps
from .pictures import neighborhood_maps as neighborhood_maps
from .points import configuration_chart as configuration_chart
from .points import snapshot_map as snapshot_map

__all__ = [
    "Picture",
    "atom_maps",
    "calibration_chart",
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
