"""From a Plan to hardware: Amaranth units, RTL, simulation against the golden model, the host link and bitstreams."""
