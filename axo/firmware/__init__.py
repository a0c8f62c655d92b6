"""From a network file to HLS, RTL, the CMSSW library and the tools that check them."""
