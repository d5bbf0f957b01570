// What one transfer of an AXI4-Stream carries, with the names of AMD's ap_axi_sdata.h: for C simulation where that header
// is missing.
#pragma once

#include <ap_int.h>

template <int D, int U, int TI, int TD> struct ap_axiu {
    static_assert(U == 0 && TI == 0 && TD == 0, "no user, id and destination signals");
    ap_uint<D> data;
    ap_uint<(D + 7) / 8> keep;
    ap_uint<(D + 7) / 8> strb;
    ap_uint<1> last;
};
