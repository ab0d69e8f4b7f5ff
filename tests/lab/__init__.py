"""The lab: stand-ins for the parts of the chain that a test machine does not have.

Nothing here is a mock of our own code. Each stand-in speaks to real software (libusb, the kernel's USB/IP client,
psutil, a shell) the way the real thing does, so that a check is tested exactly as it is shipped.
"""
