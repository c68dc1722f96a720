#include "scrape.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <optional>
#include <sys/socket.h>

namespace bench {
namespace {

// What it reads it throws away, in the same loop as the clients, for which another process would be in the
// way. Nor does what comes for it wake them up.
class scraper {
public:
    scraper(std::uint16_t port, std::string path) : port_(port), path_(std::move(path)) {}

    bool is_reading() const { return static_cast<bool>(fd_); }
    bool failed() const { return failed_; }
    std::uint64_t bytes() const { return bytes_; }
    std::int64_t took_us() const { return took_us_; }

    void begin()
    {
        fd_ = connect_to_loopback(port_);
        begun_us_ = now_us();
        asked_ = false;
        bytes_ = 0;
    }
    void go_on()
    {
        if (!asked_) {
            const std::string request = "GET " + path_ + " HTTP/1.0\r\nAccept: text/plain\r\n\r\n";
            asked_ = ::send(fd_.get(), request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
            return;
        }
        char head[13];
        const bool first = bytes_ == 0;
        const ssize_t n = first ? ::recv(fd_.get(), head, sizeof head, MSG_DONTWAIT)
                                : ::recv(fd_.get(), nullptr, 1 << 20, MSG_DONTWAIT | MSG_TRUNC);
        if (n > 0) {
            bytes_ += static_cast<std::uint64_t>(n);
            failed_ = failed_ || (first && std::string_view(head, sizeof head) != "HTTP/1.1 200 ");
        } else if (n == 0) {
            took_us_ = now_us() - begun_us_;
            fd_ = {};
        }
    }

private:
    std::uint16_t port_;
    std::string path_;
    unique_fd fd_;
    bool asked_ = false;
    bool failed_ = false;
    std::int64_t begun_us_ = 0;
    std::int64_t took_us_ = 0;
    std::uint64_t bytes_ = 0;
};

// Replaces a key file by one in which another key is disabled, or enabled again.
class key_changer {
public:
    static constexpr std::int64_t every_us = 25000;

    explicit key_changer(std::string path) : path_(std::move(path))
    {
        unique_fd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
        std::string text;
        char part[65536];
        for (ssize_t n; fd && (n = ::read(fd.get(), part, sizeof part)) > 0;) {
            text.append(part, static_cast<std::size_t>(n));
        }
        // The last lines, each with its comma, and what ends the file.
        std::size_t at = text.rfind("\n]");
        end_ = at == text.npos ? "" : text.substr(at);
        text.resize(at == text.npos ? 0 : at);
        for (int i = 0; i < 100 && (at = text.rfind('\n')) != text.npos; ++i) {
            lines_.push_back(text.substr(at));
            text.resize(at);
        }
        std::reverse(lines_.begin(), lines_.end());
        begin_ = text;
    }

    // False if the file cannot be read or written.
    bool change()
    {
        if (lines_.empty()) {
            return false;
        }
        std::string& line = lines_[changes_++ % lines_.size()];
        const std::string disabled = ",\"enabled\":false}";
        const std::size_t at = line.find(disabled);
        if (at == line.npos) {
            const std::size_t brace = line.rfind('}');
            line.erase(brace, 1).insert(brace, disabled);
        } else {
            line.erase(at, disabled.size()).insert(at, 1, '}');
        }
        std::string text = begin_;
        for (const std::string& each : lines_) {
            text += each;
        }
        text += end_;
        const std::string next = path_ + ".new";
        unique_fd fd(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
        return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())
               && ::rename(next.c_str(), path_.c_str()) == 0;
    }
    std::uint64_t changes() const { return changes_; }

private:
    std::string path_;
    std::string begin_, end_;
    std::vector<std::string> lines_;
    std::uint64_t changes_ = 0;
};

struct times {
    std::vector<std::int64_t> requests; // us, of all windows
    std::vector<std::int64_t> p99;      // of each
    std::vector<std::int64_t> ratios;   // of these to those of the first, in thousandths
    std::vector<std::int64_t> scrapes;
    std::uint64_t bytes = 0;
};

std::int64_t quantile(const std::vector<std::int64_t>& sorted, double q)
{
    return sorted.empty() ? 0 : sorted[static_cast<std::size_t>(static_cast<double>(sorted.size() - 1) * q)];
}

// Of "what:which" the second, if the first is this.
std::optional<std::string> asked_for(const std::string& scrape, std::string_view what)
{
    return scrape.starts_with(what) ? std::optional(scrape.substr(what.size())) : std::nullopt;
}

// A process does nothing as long as this lives.
class stopped_process {
public:
    explicit stopped_process(int pid) : pid_(pid) { ::kill(pid_, SIGSTOP); }
    ~stopped_process() { ::kill(pid_, SIGCONT); }
    stopped_process(const stopped_process&) = delete;
    stopped_process& operator=(const stopped_process&) = delete;

private:
    int pid_;
};

// A window: requests at the rate, and scrapes of this path. Ends when all of both have ended.
bool run_window(loop& l, session& s, const measurement& m, const std::string& path, key_changer* keys,
                times& to)
{
    scraper reader(s.where().port, path);
    std::optional<stopped_process> stopped;
    if (const auto pid = asked_for(path, "stop:")) {
        stopped.emplace(std::atoi(pid->c_str()));
    }
    const bool reads = path.starts_with('/');
    const std::uint64_t first = s.count().asked;
    const std::uint64_t count = m.rate * m.window_s;
    std::vector<std::int64_t> window;
    const std::int64_t begin = now_us();
    const auto due = [&](std::uint64_t n) { return begin + static_cast<std::int64_t>(n * 1000000 / m.rate); };
    s.on_done = [&](std::uint64_t number) { window.push_back(now_us() - due(number - first)); };
    std::int64_t next_scrape = reads ? begin : INT64_MAX;
    std::int64_t next_change = keys ? begin : INT64_MAX;
    const std::int64_t end = due(count);
    for (std::uint64_t asked = 0; (asked < count || !s.idle() || reader.is_reading()) && !l.failed();) {
        for (const std::int64_t now = now_us(); asked < count && due(asked) <= now; ++asked) {
            s.allow(1);
        }
        std::int64_t next = now_us() + (reader.is_reading() ? 500 : 100000);
        if (asked < count) {
            next = std::min(next, due(asked));
        }
        if (!reader.is_reading() && next_scrape < end) {
            next = std::min(next, next_scrape);
        }
        if (next_change < end) {
            next = std::min(next, next_change);
        }
        l.wait_us(std::max<std::int64_t>(next - now_us(), 0));
        if (now_us() >= next_change && next_change < end) {
            if (!keys->change()) {
                l.fail("the key file cannot be changed", s);
            }
            next_change += key_changer::every_us;
        }
        if (reader.is_reading()) {
            reader.go_on();
            if (!reader.is_reading()) {
                to.scrapes.push_back(reader.took_us());
                to.bytes = reader.bytes();
            }
        } else if (const std::int64_t now = now_us(); now >= next_scrape && now < end) {
            reader.begin();
            next_scrape += 1000000;
        }
        if (reader.failed() || now_us() > end + std::int64_t{m.timeout_s} * 1000000) {
            l.fail(reader.failed() ? "the scrape failed" : "took too long", s);
        }
    }
    s.on_done = nullptr;
    std::sort(window.begin(), window.end());
    to.p99.push_back(quantile(window, 0.99));
    to.requests.insert(to.requests.end(), window.begin(), window.end());
    return !l.failed();
}

} // namespace

int measure_scrapes(const measurement& m)
{
    poller::may_sleep = true;
    loop l;
    session s(l, m.gateways.front(), m.work);
    s.allow(m.work.distinct * m.work.models);
    const std::int64_t limit = now_ms() + m.timeout_s * 1000;
    while (!s.idle() && !l.failed() && now_ms() < limit) {
        l.wait(100);
    }
    std::vector<times> all(m.scrapes.size());
    std::vector<std::optional<key_changer>> changers(m.scrapes.size());
    for (std::size_t i = 0; i < m.scrapes.size(); ++i) {
        if (auto file = asked_for(m.scrapes[i], "keys:")) {
            changers[i].emplace(std::move(*file));
        }
    }
    // The first round warms up.
    for (std::uint64_t round = 0; s.idle() && round <= m.rounds; ++round) {
        for (std::size_t i = 0; i < m.scrapes.size(); ++i) {
            times warm;
            if (!run_window(l, s, m, m.scrapes[i], changers[i] ? &*changers[i] : nullptr,
                            round == 0 ? warm : all[i])) {
                return 1;
            }
        }
    }
    for (std::size_t i = all.size(); i-- > 0;) {
        for (std::size_t round = 0; round < all[i].p99.size(); ++round) {
            all[i].ratios.push_back(all[i].p99[round] * 1000 / std::max<std::int64_t>(all[0].p99[round], 1));
        }
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::sort(all[i].ratios.begin(), all[i].ratios.end());
        std::sort(all[i].requests.begin(), all[i].requests.end());
        std::sort(all[i].p99.begin(), all[i].p99.end());
        std::sort(all[i].scrapes.begin(), all[i].scrapes.end());
        const auto n = [](std::int64_t number) { return static_cast<long long>(number); };
        std::printf("%s,%s,%zu,%lld,%lld,%lld,%.3f,%lld,%lld\n", s.where().name.c_str(), m.scrapes[i].c_str(),
                    all[i].requests.size(), n(quantile(all[i].requests, 0.5)), n(quantile(all[i].p99, 0.5)),
                    n(quantile(all[i].requests, 0.999)),
                    static_cast<double>(quantile(all[i].ratios, 0.5)) / 1000,
                    n(static_cast<std::int64_t>(changers[i] ? changers[i]->changes() : all[i].bytes)),
                    n(quantile(all[i].scrapes, 0.5) / 1000));
    }
    return s.idle() && !l.failed() ? 0 : 1;
}

} // namespace bench
