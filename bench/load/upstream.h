// The pretended model server.
#pragma once

#include <cstdint>

namespace bench {

// Serves on 127.0.0.1:port until SIGTERM or SIGINT. Streams tell their usage where the request's
// stream_options ask for it. Paths, whose arguments may also come in a header X-Bench-Plan (of gateways that
// drop them):
//   /v1/chat/completions     a JSON reply of 590 bytes
//     ?chunks=N              a stream of N content events instead, as fast as it goes
//     &pace=MS               one event each MS
//     &spread=MS             so far apart streams start; default: all of that time, 1: all at once
//     &slot=MS&of=N&at=I     flows only in each Ith of N slots of the monotonic clock, without their last
//                            10 ms
//     &frame=close           without Transfer-Encoding
//     &usage=null            asked for usage, each event but the last has null
//   /v1/embeddings?floats=N  a JSON reply of about 16 N bytes
//   /bench/stats             what was sent so far
int run_upstream(std::uint16_t port);

} // namespace bench
