"""Networks from and to other people's formats: Keras, hls4ml projects, CMS's descriptions."""
