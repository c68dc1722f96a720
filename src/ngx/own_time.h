// How long this module takes for a request, measured with some of them: reading the clock at each of their
// steps costs as much as many a step.
#pragma once

#include "request.h"

namespace llm {

// One of so many requests is measured, with all of its steps.
inline constexpr uint32_t own_time_sample = 16;

// A request begins: decides whether it is.
void begin_own_time(request_ctx& ctx);

// A step of a request, from here on. Steps within others count once.
class own_time {
public:
    explicit own_time(const request_ctx& ctx) : counts_(ctx.own.is_measured && !running_)
    {
        if (counts_) [[unlikely]] {
            start();
        }
    }
    ~own_time()
    {
        if (counts_) [[unlikely]] {
            running_ = false;
        }
    }
    own_time(const own_time&) = delete;
    own_time& operator=(const own_time&) = delete;

    // The step has ended, and the request is still there. One that may be gone is not told.
    void stop(request_ctx& ctx)
    {
        if (counts_) [[unlikely]] {
            add_to(ctx);
        }
    }

private:
    void start();
    void add_to(request_ctx& ctx);

    static bool running_; // in this worker
    bool counts_;
    uint64_t began_ns_ = 0;
};

} // namespace llm
