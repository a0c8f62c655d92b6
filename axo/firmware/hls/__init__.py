"""C++ for high-level synthesis: hls4ml's project, the path around it, CMSSW's library."""
