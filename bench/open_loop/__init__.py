"""An open-loop load: requests are sent when they are due, whether or not earlier ones were answered."""
