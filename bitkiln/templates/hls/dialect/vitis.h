// All that is particular to AMD Vitis HLS. The kernels are written with its names, ap_int, ap_uint and hls::stream, and with
// the macros below; another tool is another file like this one.
//
// A loop has two macros because Vitis wants a pragma in the loop's body, others in front of the loop.
#pragma once

#include <cstdint>

#include <ap_int.h>

#include <ap_axi_sdata.h>
#include <hls_stream.h>

#ifdef __SYNTHESIS__
#define HLS_PRAGMA(text) _Pragma(#text)
#else
#define HLS_PRAGMA(text)
#endif

#define HLS_TOP
#define HLS_KERNEL
#define HLS_INLINE HLS_PRAGMA(HLS inline)
#define HLS_DATAFLOW HLS_PRAGMA(HLS dataflow)
#define HLS_PIPELINE_NEXT
#define HLS_PIPELINE HLS_PRAGMA(HLS pipeline II=1)
// As often as the tool can start it: sums in memory meet the row that was written the cycle before.
#define HLS_PIPELINE_FREELY HLS_PRAGMA(HLS pipeline)
#define HLS_UNROLL_NEXT
#define HLS_UNROLL HLS_PRAGMA(HLS unroll)
#define HLS_TRIPS(COUNT) HLS_PRAGMA(HLS loop_tripcount min=COUNT max=COUNT)
// Every element of the array, or of its dimension, is a register or a memory of its own.
#define HLS_PARTITION(NAME) HLS_PRAGMA(HLS array_partition variable=NAME type=complete dim=0)
#define HLS_PARTITION_DIM(NAME, NUMBER) HLS_PRAGMA(HLS array_partition variable=NAME type=complete dim=NUMBER)
#define HLS_BLOCK_MEMORY(NAME) HLS_PRAGMA(HLS bind_storage variable=NAME type=rom_1p impl=bram)
#define HLS_LUT_MEMORY(NAME) HLS_PRAGMA(HLS bind_storage variable=NAME type=rom_1p impl=lutram)
#define HLS_MULTIPLY_IN_LUT(NAME) HLS_PRAGMA(HLS bind_op variable=NAME op=mul impl=fabric)
// A queue between two kernels.
#define HLS_STREAM(TYPE, NAME, PLACES)                                                                                 \
    hls::stream<TYPE> NAME(#NAME);                                                                                     \
    HLS_PRAGMA(HLS stream variable=NAME depth=PLACES type=fifo)
#define HLS_PORT_STREAM(NAME) HLS_PRAGMA(HLS interface mode=axis port=NAME)
#define HLS_PORT_CONTROL(NAME) HLS_PRAGMA(HLS interface mode=s_axilite port=NAME bundle=control)

// A word of an AXI4-Stream.
template <int BITS> using axis_word = ap_axiu<BITS, 0, 0, 0>;

template <int BITS> inline axis_word<BITS> make_axis_word(ap_uint<BITS> data, bool is_last) {
    HLS_INLINE
    axis_word<BITS> word;
    word.data = data;
    word.keep = -1;
    word.strb = -1;
    word.last = is_last ? 1 : 0;
    return word;
}
