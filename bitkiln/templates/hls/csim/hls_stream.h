// An unbounded queue with the interface of AMD's hls_stream.h, as far as the kernels use it: for C simulation.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace hls {

template <typename T> class stream {
  public:
    explicit stream(const char *its_name = "") : name(its_name) {}
    stream(const stream &) = delete;
    stream &operator=(const stream &) = delete;
    ~stream() { delete[] values; }

    bool empty() const { return first == last; }
    void write(const T &value) {
        if (last == room)
            grow();
        values[last++] = value;
    }
    T read() {
        if (first == last) {
            std::fprintf(stderr, "the stream %s is read, but it is empty\n", name);
            std::abort();
        }
        const T value = values[first++];
        if (first == last)
            first = last = 0;
        return value;
    }

  private:
    void grow() {
        room = room ? 2 * room : 64;
        T *larger = new T[room];
        for (std::size_t n = first; n < last; ++n)
            larger[n - first] = values[n];
        last -= first;
        first = 0;
        delete[] values;
        values = larger;
    }

    const char *name;
    T *values = nullptr;
    std::size_t first = 0, last = 0, room = 0;
};

} // namespace hls
