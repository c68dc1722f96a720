// Clients of one gateway: connections that ask, read and check replies, on an event loop that sessions share.
#pragma once

#include "net.h"
#include "proc_info.h"
#include "reply_reader.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace bench {

struct workload {
    std::string path = "/v1/chat/completions";
    unsigned connections = 1;
    std::uint64_t keys = 10;     // the key file holds so many
    std::uint64_t distinct = 10; // so many of them are used in turn, spread over the file
    std::uint64_t models = 1;    // each of them asks for so many, a turn each
    std::uint64_t prompt = 0;    // so many bytes more, with all else behind it; 0: a short one
    int refusal = 0;             // the status of the refusals that are wanted; 0: all is to be answered
    bool unknown_key = false;    // all requests have a key that nobody knows
};

struct gateway {
    std::string name;
    std::uint16_t port = 0;
    process_group workers;
    // Gets so many times fewer requests and connections, and in turns takes part so much more rarely: there
    // are contenders that need a hundred times the time of others.
    std::uint64_t fewer = 1;
    // That it wants besides, each with its end of line; "$query" is the path's, from its question mark on.
    std::string headers;
};

struct counters {
    std::uint64_t begun = 0; // connections that saw the first byte of a reply
    std::uint64_t asked = 0;
    std::uint64_t done = 0;
    std::uint64_t refused = 0; // of those done
    std::uint64_t events = 0;
    std::uint64_t reads = 0;
    tokens used;
};

class session;

struct connection {
    unique_fd fd;
    session* owner = nullptr;
    reply_reader reader;
    std::uint64_t events = 0;
    std::uint64_t number = 0; // of its request
    std::string out;          // what is still to be sent, from `sent` on
    std::size_t sent = 0;
    bool begun = false;
    bool asking = false;     // a request is on its way or its reply is
    bool asks_again = false; // the one whose number it has, since the connection was closed in its face
};

class loop {
public:
    loop() : buffer_(256 * 1024) {}

    void wait(int timeout_ms);
    void wait_us(std::int64_t timeout_us);
    void watch(std::unique_ptr<connection> c);
    std::unique_ptr<connection> release(const connection& c) { return std::move(connections_[c.fd.get()]); }
    void wait_for_input(const connection& c) { poller_.change(c.fd.get(), EPOLLIN); }
    void wait_for_room(const connection& c) { poller_.change(c.fd.get(), EPOLLIN | EPOLLOUT); }
    std::vector<char>& buffer() { return buffer_; }

    // The first thing that went wrong ends the run.
    void fail(const char* why, const session& where);
    bool failed() const { return failed_; }

private:
    poller poller_;
    std::vector<char> buffer_;
    std::vector<std::unique_ptr<connection>> connections_;
    bool failed_ = false;
};

class session {
public:
    session(loop& l, gateway where, workload what)
        : loop_(l), where_(std::move(where)), what_(std::move(what))
    {
    }

    // So many more requests may be asked.
    void allow(std::uint64_t requests);
    bool idle() const { return count_.done == allowed_; }
    const counters& count() const { return count_; }
    const gateway& where() const { return where_; }
    const workload& what() const { return what_; }

    // Whether most requests were refused, if that is what is measured.
    bool refused_as_wanted() const { return what_.refusal == 0 || count_.refused * 10 > count_.done * 9; }

    // Is told the number of each request that has its reply; they count from 0.
    std::function<void(std::uint64_t)> on_done;

    void ready(connection& c, std::uint32_t events);

private:
    void open_more();
    void connect(std::unique_ptr<connection> c);
    void ask(connection& c);
    void send(connection& c);
    void receive(connection& c);
    void complete(connection& c);
    void closed(connection& c);
    std::string request(std::uint64_t number) const;

    loop& loop_;
    const gateway where_;
    const workload what_;
    counters count_;
    std::uint64_t allowed_ = 0;
    unsigned opened_ = 0;
    std::vector<connection*> resting_; // connected, with nothing to ask
};

} // namespace bench
