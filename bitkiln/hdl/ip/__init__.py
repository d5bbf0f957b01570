"""A Plan as a block for vendor tools: AXI4-Stream in and out, AXI4-Lite registers, and the scripts that package it."""
