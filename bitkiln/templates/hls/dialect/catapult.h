// All that is particular to Siemens Catapult: its ac_int and ac_channel under the names that the kernels use, and its pragmas,
// which stand in front of a loop or a function. How arrays are mapped is decided by directives of the tool.
#pragma once

#include <cstdint>

#include <ac_channel.h>
#include <ac_int.h>

template <int W> using ap_int = ac_int<W, true>;
template <int W> using ap_uint = ac_int<W, false>;

namespace hls {
template <typename T> using stream = ac_channel<T>;
}

#ifdef __SYNTHESIS__
#define HLS_PRAGMA(text) _Pragma(#text)
#else
#define HLS_PRAGMA(text)
#endif

#define HLS_TOP HLS_PRAGMA(hls_design top)
#define HLS_KERNEL HLS_PRAGMA(hls_design)
#define HLS_INLINE
#define HLS_DATAFLOW
#define HLS_PIPELINE_NEXT HLS_PRAGMA(hls_pipeline_init_interval 1)
#define HLS_PIPELINE
#define HLS_PIPELINE_FREELY
#define HLS_UNROLL_NEXT HLS_PRAGMA(hls_unroll yes)
#define HLS_UNROLL
#define HLS_TRIPS(COUNT)
#define HLS_PARTITION(NAME)
#define HLS_PARTITION_DIM(NAME, NUMBER)
#define HLS_BLOCK_MEMORY(NAME)
#define HLS_LUT_MEMORY(NAME)
#define HLS_MULTIPLY_IN_LUT(NAME)
#define HLS_STREAM(TYPE, NAME, PLACES) static ac_channel<TYPE> NAME;
#define HLS_PORT_STREAM(NAME)
#define HLS_PORT_CONTROL(NAME)

// A word of the ports: data, and whether it is the last of all.
template <int BITS> struct axis_word {
    ap_uint<BITS> data;
    ap_uint<1> last;
};

template <int BITS> inline axis_word<BITS> make_axis_word(ap_uint<BITS> data, bool is_last) {
    axis_word<BITS> word;
    word.data = data;
    word.last = is_last ? 1 : 0;
    return word;
}
