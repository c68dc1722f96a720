// The critical section: what is done with the zone locked for one request. All kinds of limits, in all
// scopes.
//
// usage: section_bench time KEYS    name and median nanoseconds, one line for each part
//        section_bench count KEYS   for callgrind with --instr-atstart=no: a dump for each part, named by it
//
// The parts: `check` looks the key up, for a request whose body is still to come; `decide` looks it up
// (again), decides and takes the lease; `settle` ends it. The lock itself is nginx's and not in it, nor is
// what is prepared before it is taken; what reading the clock takes is.
#include "core/base/hash.h"
#include "core/shared/shared_state.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <string>
#include <sys/mman.h>
#include <vector>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_STOP_INSTRUMENTATION
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name) (void)name
#endif

namespace {

using namespace llm;

constexpr size_t users = 1000;
constexpr size_t models = 16;
constexpr size_t max_addresses = 50000;
// So many requests are in flight, so that what one has touched has left the nearest caches when it ends.
constexpr size_t in_flight = 256;

digest digest_of(uint64_t key)
{
    digest d{};
    std::mt19937_64 random(key);
    for (size_t at = 0; at < sizeof d; at += sizeof(uint64_t)) {
        const uint64_t part = random();
        memcpy(d.data() + at, &part, sizeof part);
    }
    return d;
}

std::string named(char kind, size_t number)
{
    std::string name(1, kind);
    name += std::to_string(number);
    return name;
}

key_file file_of(size_t keys)
{
    key_file file;
    file.path = "keys.json";
    file.policies.resize(1);
    file.keys.resize(keys);
    for (size_t n = 0; n < keys; n++) {
        file.keys[n].name = named('k', n);
        file.keys[n].user = named('u', n % users);
        file.keys[n].digests = {digest_of(n)};
    }
    return file;
}

// What bench/lib/nginx.sh gives to llm-limits: nothing is ever refused.
std::vector<limit_rule> all_limits()
{
    std::vector<limit_rule> rules;
    for (subject_kind scope : {subject_kind::key, subject_kind::user, subject_kind::model,
                               subject_kind::address, subject_kind::zone}) {
        limits what;
        what.requests = {1000000, 1000};
        what.burst = 1000000;
        what.concurrency = 60000;
        what.tokens = {1000000000, 60000};
        what.quota = uint64_t{1} << 40;
        what.window = quota_window::month;
        if (scope == subject_kind::address) {
            what.failures = {1000, 1000};
        }
        rules.emplace_back(scope, what);
    }
    return rules;
}

class zone {
public:
    explicit zone(size_t keys) : keys_(keys), addresses_(std::min(keys, max_addresses)), rules_(all_limits())
    {
        const key_file file = file_of(keys);
        const key_file* const files[] = {&file};
        const size_t table = key_table::bytes(files);
        // Clients name half of the subjects at most.
        const size_t bytes = shared_state::bytes_for(table, 2 * (keys + users + addresses_ + models))
                             + shared_state::min_bytes + 16 * in_flight * sizeof(lease);
        void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            std::perror("mmap");
            std::exit(1);
        }
        state_ = shared_state::format(memory, bytes, {1, 2});
        if (table > state_->key_area_bytes()) {
            std::fputs("the key table does not fit\n", stderr);
            std::exit(1);
        }
        const publisher::ticket ticket = state_->begin_staging(
            {1, 1}, [](auto&& change) { change(); }, [](const lease_owner&) { return false; });
        state_->publish(ticket, key_table::write(state_->next_key_area(), files));
        state_->end_staging(ticket);
    }

    struct asked {
        digest key;
        uint8_t address[4];
        char model[16];
        size_t model_len;
    };

    asked ask(uint64_t key, uint64_t chance) const
    {
        asked a{.key = digest_of(key), .address = {}, .model = {}, .model_len = 0};
        const auto address = static_cast<uint32_t>(chance % addresses_);
        memcpy(a.address, &address, sizeof a.address);
        a.model_len = static_cast<size_t>(
            std::snprintf(a.model, sizeof a.model, "model-%u", static_cast<unsigned>(chance >> 32) % 16));
        return a;
    }

    admission_request request(const asked& a)
    {
        now_.ns += 100000;
        now_.unix_ms = 1800000000000 + static_cast<int64_t>(now_.ns / 1000000);
        return {.file = file_,
                .key = a.key,
                .address = a.address,
                .asks_model = true,
                .named_model = true,
                .model = {a.model, a.model_len},
                .stream = false,
                .owner = 0,
                .now_ms = now_.unix_ms,
                .now_ns = now_.ns,
                .rules = rules_,
                .estimate = 300,
                .weights = {}};
    }

    void check(const admission_request& r)
    {
        state_->enter();
        shared_key* key = nullptr;
        good_ &= state_->check_key(r, key).said == verdict::ok;
        state_->leave();
    }

    void prepare(admission_request& r) { state_->prepare(r); }

    lease* decide(admission_request& r)
    {
        state_->enter();
        shared_key* key = nullptr;
        const request_size size{.prompt_bytes = 400};
        const admission_result result = state_->check_and_admit(r, &size, key);
        state_->leave();
        good_ &= result.said == verdict::ok;
        return result.taken;
    }

    void prefetch(const lease& l) const { state_->prefetch(l); }

    void settle(lease& l, const moment& now)
    {
        state_->enter();
        state_->settle(l, {.prompt = 40, .cached = 0, .completion = 80, .reasoning = 0}, now);
        state_->leave();
    }

    // Each key has been used once, so that every counter is there.
    void use_all()
    {
        for (size_t n = 0; n < keys_; n++) {
            const asked a = ask(n, n | n << 32);
            admission_request r = request(a);
            if (lease* l = decide(r)) {
                settle(*l, r.now());
            }
        }
    }

    size_t keys() const { return keys_; }
    bool good() const { return good_; }

private:
    const size_t keys_;
    const size_t addresses_;
    const std::vector<limit_rule> rules_;
    const uint64_t file_ = name_hash("keys.json");
    shared_state* state_ = nullptr;
    moment now_{1000000000, 0};
    bool good_ = true;
};

uint64_t now_ns()
{
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_nsec);
}

// Clocks may go in steps of 10 ns and more: so many measurements are summed up before the median is taken.
constexpr size_t block = 16;

double median(const std::vector<uint64_t>& list)
{
    std::vector<uint64_t> sums(list.size() / block);
    for (size_t n = 0; n < sums.size() * block; n++) {
        sums[n / block] += list[n];
    }
    const auto middle = sums.begin() + static_cast<std::ptrdiff_t>(sums.size() / 2);
    std::nth_element(sums.begin(), middle, sums.end());
    return static_cast<double>(*middle) / block;
}

template <class F>
uint64_t timed(F&& f)
{
    const uint64_t start = now_ns();
    f();
    return now_ns() - start;
}

void measure_time(zone& z)
{
    constexpr size_t requests = 200000;
    std::mt19937_64 random(7);
    std::vector<uint64_t> check, decide, settle;
    std::vector<lease*> running(in_flight);
    for (size_t n = 0; n < requests && z.good(); n++) {
        const zone::asked a = z.ask(random() % z.keys(), random());
        admission_request r = z.request(a);
        lease*& l = running[n % in_flight];
        if (l) {
            z.prefetch(*l);
            settle.push_back(timed([&] { z.settle(*l, r.now()); }));
        }
        if (n % 2 == 0) {
            check.push_back(timed([&] { z.check(r); }));
        }
        z.prepare(r);
        decide.push_back(timed([&] { l = z.decide(r); }));
    }
    std::printf("check %.0f\ndecide %.0f\nsettle %.0f\n", median(check), median(decide), median(settle));
}

void count_instructions(zone& z)
{
    std::mt19937_64 random(7);
    std::vector<zone::asked> all;
    std::vector<admission_request> requests;
    std::vector<lease*> leases;
    for (size_t n = 0; n < in_flight; n++) {
        all.push_back(z.ask(random() % z.keys(), random()));
    }
    for (const zone::asked& a : all) {
        requests.push_back(z.request(a));
    }
    leases.resize(in_flight);
    for (admission_request& r : requests) {
        z.prepare(r);
    }
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
    for (const admission_request& r : requests) {
        z.check(r);
    }
    CALLGRIND_DUMP_STATS_AT("check");
    CALLGRIND_ZERO_STATS;
    for (size_t n = 0; n < in_flight; n++) {
        leases[n] = z.decide(requests[n]);
    }
    CALLGRIND_DUMP_STATS_AT("decide");
    CALLGRIND_ZERO_STATS;
    for (size_t n = 0; n < in_flight && leases[n]; n++) {
        z.settle(*leases[n], requests[n].now());
    }
    CALLGRIND_DUMP_STATS_AT("settle");
    CALLGRIND_STOP_INSTRUMENTATION;
}

} // namespace

int main(int argc, char** argv)
{
    const size_t keys = argc == 3 ? std::strtoull(argv[2], nullptr, 10) : 0;
    const bool times = argc == 3 && strcmp(argv[1], "time") == 0;
    if (keys == 0 || (!times && strcmp(argv[1], "count") != 0)) {
        std::fputs("usage: section_bench time|count KEYS\n", stderr);
        return 2;
    }
    zone z(keys);
    z.use_all();
    if (times) {
        measure_time(z);
    } else {
        count_instructions(z);
        std::printf("requests %zu\n", in_flight);
    }
    if (!z.good()) {
        std::fputs("a request was refused\n", stderr);
        return 1;
    }
    return 0;
}
