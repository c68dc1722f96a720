#include "own_time.h"

#include "clock.h"

namespace llm {

bool own_time::running_ = false;

void begin_own_time(request_ctx& ctx)
{
    ctx.own.is_measured = ctx.home->begun++ % own_time_sample == 0;
}

void own_time::start()
{
    running_ = true;
    began_ns_ = now_of_both_clocks().ns;
}

void own_time::add_to(request_ctx& ctx)
{
    ctx.own.ns += now_of_both_clocks().ns - began_ns_;
    running_ = false;
    counts_ = false;
}

} // namespace llm
