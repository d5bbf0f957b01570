// Integers of 1 to 64 bits with the interface of AMD's ap_int.h, as far as the kernels use it: for C simulation with any
// C++17 compiler. A value lies in the smallest built-in integer that holds it; bits above its width are dropped when it is
// read, not when it is written, so that sums in loops are plain integer code. A result that ap_int.h would give more than
// 64 bits has 64: the golden model refuses values beyond 53 bits.
#pragma once

#include <cstdint>
#include <type_traits>

namespace csim {

template <int BITS, bool IS_SIGNED> struct storage {
    using small = std::conditional_t<BITS <= 8, std::int8_t, std::int16_t>;
    using large = std::conditional_t<BITS <= 32, std::int32_t, std::int64_t>;
    using integer = std::conditional_t<BITS <= 16, small, large>;
    using type = std::conditional_t<IS_SIGNED, integer, std::make_unsigned_t<integer>>;
};

constexpr int larger(int a, int b) { return a > b ? a : b; }
constexpr int limited(int bits) { return bits < 64 ? bits : 64; }

// Built-in integers in expressions: as wide as they are.
template <typename T> using if_integer = std::enable_if_t<std::is_integral<T>::value, int>;
template <typename T> constexpr int bits_of = std::is_same<T, bool>::value ? 1 : int(8 * sizeof(T));

template <int W, bool S> class integer {
    static_assert(W >= 1 && W <= 64, "1 to 64 bits");

  public:
    using type = typename storage<W, S>::type;
    static constexpr int width = W;

    integer() = default;
    template <typename T, if_integer<T> = 0> constexpr integer(T value) : raw(type(value)) {}
    template <int V, bool R> constexpr integer(const integer<V, R> &other) : raw(type(other.value())) {}

    constexpr type value() const {
        constexpr int unused = int(8 * sizeof(type)) - W;
        if constexpr (unused == 0)
            return raw;
        else if constexpr (S)
            return type(type(std::make_unsigned_t<type>(raw) << unused) >> unused);
        else
            return type(raw & type((type(1) << W) - 1));
    }
    constexpr int to_int() const { return int(value()); }
    constexpr long long to_int64() const { return (long long)(value()); }
    constexpr unsigned long long to_uint64() const { return (unsigned long long)(value()); }

    template <typename T> integer &operator+=(const T &other) {
        using unsigned_type = std::make_unsigned_t<type>;
        raw = type(unsigned_type(raw) + unsigned_type(integer(other).raw));
        return *this;
    }
    template <typename T> integer &operator-=(const T &other) { return *this += -other; }
    integer operator>>(int count) const { return integer(value() >> count); }
    integer operator<<(int count) const { return integer(std::make_unsigned_t<type>(raw) << count); }
    integer operator~() const { return integer(~raw); }
    integer<limited(W + 1), true> operator-() const {
        return integer<limited(W + 1), true>(typename integer<limited(W + 1), true>::type(0) - value());
    }

  private:
    type raw;
};

template <int W, bool S, int V, bool R> struct results {
    static constexpr bool is_signed = S || R;
    static constexpr int common = larger(W + (R && !S), V + (S && !R));
    using sum = integer<limited(common + 1), is_signed>;
    using difference = integer<limited(common + 1), true>;
    using product = integer<limited(W + V), is_signed>;
    using bits = integer<limited(common), is_signed>;
};

template <int W, bool S, int V, bool R>
constexpr typename results<W, S, V, R>::sum operator+(const integer<W, S> &a, const integer<V, R> &b) {
    using result = typename results<W, S, V, R>::sum;
    return result(typename result::type(a.value()) + typename result::type(b.value()));
}
template <int W, bool S, int V, bool R>
constexpr typename results<W, S, V, R>::difference operator-(const integer<W, S> &a, const integer<V, R> &b) {
    using result = typename results<W, S, V, R>::difference;
    return result(typename result::type(a.value()) - typename result::type(b.value()));
}
template <int W, bool S, int V, bool R>
constexpr typename results<W, S, V, R>::product operator*(const integer<W, S> &a, const integer<V, R> &b) {
    using result = typename results<W, S, V, R>::product;
    return result(typename result::type(a.value()) * typename result::type(b.value()));
}
template <int W, bool S, int V, bool R>
constexpr typename results<W, S, V, R>::bits operator&(const integer<W, S> &a, const integer<V, R> &b) {
    return typename results<W, S, V, R>::bits(a.value() & b.value());
}
template <int W, bool S, int V, bool R>
constexpr typename results<W, S, V, R>::bits operator|(const integer<W, S> &a, const integer<V, R> &b) {
    return typename results<W, S, V, R>::bits(a.value() | b.value());
}
template <int W, bool S, int V, bool R>
constexpr typename results<W, S, V, R>::bits operator^(const integer<W, S> &a, const integer<V, R> &b) {
    return typename results<W, S, V, R>::bits(a.value() ^ b.value());
}

// The built-in type in which two integers are compared.
template <int W, bool S, int V, bool R> using compared = typename results<W, S, V, R>::bits::type;

#define CSIM_COMPARISON(op)                                                                                            \
    template <int W, bool S, int V, bool R>                                                                            \
    constexpr bool operator op(const integer<W, S> &a, const integer<V, R> &b) {                                       \
        return compared<W, S, V, R>(a.value()) op compared<W, S, V, R>(b.value());                                     \
    }
CSIM_COMPARISON(==)
CSIM_COMPARISON(!=)
CSIM_COMPARISON(<)
CSIM_COMPARISON(<=)
CSIM_COMPARISON(>)
CSIM_COMPARISON(>=)
#undef CSIM_COMPARISON

#define CSIM_WITH_BUILT_IN(op)                                                                                         \
    template <int W, bool S, typename T, if_integer<T> = 0> constexpr auto operator op(const integer<W, S> &a, T b) {  \
        return a op integer<bits_of<T>, std::is_signed<T>::value>(b);                                                  \
    }                                                                                                                  \
    template <int W, bool S, typename T, if_integer<T> = 0> constexpr auto operator op(T a, const integer<W, S> &b) {  \
        return integer<bits_of<T>, std::is_signed<T>::value>(a) op b;                                                  \
    }
CSIM_WITH_BUILT_IN(+)
CSIM_WITH_BUILT_IN(-)
CSIM_WITH_BUILT_IN(*)
CSIM_WITH_BUILT_IN(&)
CSIM_WITH_BUILT_IN(|)
CSIM_WITH_BUILT_IN(^)
CSIM_WITH_BUILT_IN(==)
CSIM_WITH_BUILT_IN(!=)
CSIM_WITH_BUILT_IN(<)
CSIM_WITH_BUILT_IN(<=)
CSIM_WITH_BUILT_IN(>)
CSIM_WITH_BUILT_IN(>=)
#undef CSIM_WITH_BUILT_IN

} // namespace csim

template <int W> using ap_int = csim::integer<W, true>;
template <int W> using ap_uint = csim::integer<W, false>;
