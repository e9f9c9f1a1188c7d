"""What all stations share: the scripts' door, processes, devices, random state, whole files, progress."""
