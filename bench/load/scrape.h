// How long requests take while somebody reads all metrics, changes keys, or nothing else is done at all.
#pragma once

#include "measure.h"

namespace bench {

// One gateway. First one request of each key for each model, so that the gateway has something to tell. Then
// `rounds` rounds of `window_s` seconds for each of m.scrapes, with requests that begin at a fixed rate,
// whether those before have ended or not. A scrape is a path, which is read once a second; "-": nothing is
// done; "stop:PID": this process is stopped meanwhile; "keys:FILE": of this key file, as bench_load writes
// it, one of the last 100 keys is disabled or enabled at a time, 40 times a second. Prints
// name,path,requests,p50,p99,p99.9,ratio,bytes,ms: the times of requests in us, and what a scrape has and
// takes. p99 is the median of those of all rounds, and `ratio` that of each round's p99 to that of the first
// path in the same round, so that what disturbs the machine now and then decides nothing. Returns the exit
// status.
int measure_scrapes(const measurement& m);

} // namespace bench
