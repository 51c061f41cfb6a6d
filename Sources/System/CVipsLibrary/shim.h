// Only CVips includes libvips itself; this module carries its compiler flags.
