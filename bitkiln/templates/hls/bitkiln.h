// What all kernels share: the beats of their streams, and how they read packed tables.
#pragma once

#include "dialect.h"

// One transfer of a stream: elements side by side.
template <typename T, int LANES> struct beat {
    T lane[LANES];
};

// How many 64-bit words hold so many codes; none lies in two words.
constexpr int words_for(int codes, int bits) { return (codes + 64 / bits - 1) / (64 / bits); }

// Reads the codes of one entry of a packed table, each BITS wide, the first in the lowest bits of the first word. An entry of
// a single word lies in the smallest integer that holds it.
template <int BITS, typename WORD, int WORDS, typename T, int CODES>
inline void unpack(const WORD (&words)[WORDS], T (&codes)[CODES]) {
    HLS_INLINE
    static_assert(WORDS == words_for(CODES, BITS), "an entry of the table holds the codes");
    constexpr int per_word = 64 / BITS, whole = CODES / per_word;
    HLS_UNROLL_NEXT
    for (int word = 0; word < whole; ++word) {
        HLS_UNROLL
        HLS_UNROLL_NEXT
        for (int n = 0; n < per_word; ++n) {
            HLS_UNROLL
            codes[word * per_word + n] = T(words[word] >> (n * BITS));
        }
    }
    HLS_UNROLL_NEXT
    for (int n = 0; n < CODES % per_word; ++n) {
        HLS_UNROLL
        codes[whole * per_word + n] = T(words[WORDS - 1] >> (n * BITS));
    }
}

template <typename T, typename X> inline T clamped(const X &x, long long lo, long long hi) {
    HLS_INLINE
    return x < lo ? T(lo) : x > hi ? T(hi) : T(x);
}

// x times a weight that is 0 or a power of two: its sign above the exponent plus one, an exponent of 0 for a weight of 0.
template <typename T, int EXPONENT_BITS, typename X, typename W> inline T power_product(const X &x, const W &weight) {
    HLS_INLINE
    const int exponent = weight.to_int() & ((1 << EXPONENT_BITS) - 1);
    const T placed = exponent == 0 ? T(0) : T(T(x) << (exponent - 1));
    return weight.to_int() >> EXPONENT_BITS ? T(-placed) : placed;
}

// The coordinate of an axis of this size that is nearest to `coordinate`.
inline int within(int coordinate, int size) {
    HLS_INLINE
    return coordinate < 0 ? 0 : coordinate >= size ? size - 1 : coordinate;
}
