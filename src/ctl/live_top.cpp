#include "live_top.h"

#include "exit_code.h"
#include "live_call.h"
#include "top_frame.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace llm::ctl {

namespace {

constexpr int pause_ms = 1000;
constexpr size_t all_rows = 2000;

volatile sig_atomic_t ended, resized;

void note_signal(int number)
{
    (number == SIGWINCH ? resized : ended) = 1;
}

void write_all(std::string_view text)
{
    while (!text.empty()) {
        const ssize_t n = write(STDOUT_FILENO, text.data(), text.size());
        if (n < 0 && errno != EINTR) {
            ended = 1;
            return;
        }
        text.remove_prefix(n > 0 ? static_cast<size_t>(n) : 0);
    }
}

// The other screen of the terminal for the lifetime of this object: what was on the first comes back.
class screen {
public:
    screen()
    {
        tcgetattr(STDIN_FILENO, &before_);
        termios raw = before_;
        raw.c_lflag &= static_cast<tcflag_t>(~(ICANON | ECHO));
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
        struct sigaction action = {};
        action.sa_handler = note_signal;
        for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) {
            sigaction(number, &action, nullptr);
        }
        write_all("\x1b[?1049h\x1b[?25l");
    }
    ~screen()
    {
        write_all("\x1b[?25h\x1b[?1049l");
        tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    }
    screen(const screen&) = delete;
    screen& operator=(const screen&) = delete;

    // In one piece, over what is there: nothing flickers.
    static void show(const std::vector<std::string>& lines)
    {
        std::string text = "\x1b[H";
        for (size_t i = 0; i < lines.size(); i++) {
            text += (i ? "\r\n" : "") + lines[i] + "\x1b[K";
        }
        write_all(text + "\x1b[J");
    }

private:
    termios before_;
};

size_t size_of(const char* variable, unsigned short told, size_t usual)
{
    const char* const value = getenv(variable);
    const size_t n = told ? told : value ? strtoul(value, nullptr, 10) : 0;
    return n != 0 ? n : usual;
}

struct picture {
    live_answer requests, keys;

    bool whole() const { return requests.json && keys.json; }
    const live_answer& failed() const { return requests.json ? keys : requests; }
};

picture look(const live_place& place)
{
    picture p;
    p.requests = call_live(place, "GET", "requests");
    if (p.requests.json) {
        p.keys = call_live(place, "GET", "keys?sort=tokens&limit=100");
    }
    return p;
}

winsize window()
{
    winsize size = {};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) {
        size = {};
    }
    return size;
}

// Returns when the user has had enough.
void run_live(const live_place& place, picture shown)
{
    const screen on;
    std::string lost;
    while (!ended) {
        resized = 0;
        const winsize size = window();
        const size_t columns = size_of("COLUMNS", size.ws_col, 80), rows = size_of("LINES", size.ws_row, 24);
        auto lines = top_frame(shown.requests.json.get(), shown.keys.json.get(), columns, rows);
        if (!lost.empty()) {
            lines[0] = display_cut(printable(lost), columns);
        }
        screen::show(lines);
        pollfd input = {STDIN_FILENO, POLLIN, 0};
        const int ready = poll(&input, 1, pause_ms);
        if (ready > 0) {
            char key = 0;
            if (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q') {
                return;
            }
        } else if (!resized) {
            picture next = look(place);
            lost = next.whole() ? "" : next.failed().error;
            // What was last known stays, under what is wrong.
            if (next.whole()) {
                shown = std::move(next);
            }
        }
    }
}

} // namespace

int run_top(const arguments& given, output& out)
{
    live_place place;
    if (const auto error = find_live_place(given, place)) {
        return out.fail(*error);
    }
    const bool once = given.has("--once") || out.json();
    if (!once && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))) {
        return out.fail("llmctl top needs a terminal: with --once it prints what is so at the moment");
    }
    picture p = look(place);
    if (!p.whole()) {
        return tell_error(out, p.failed());
    }
    if (out.json()) {
        const json_tree both(json_pack("{sOsO}", "now", p.requests.json.get(), "keys",
                                       json_object_get(p.keys.json.get(), "keys")));
        char* const text = json_dumps(both.get(), JSON_COMPACT | JSON_PRESERVE_ORDER);
        out.line(text ? text : "null");
        free(text);
        return exit_well;
    }
    if (once) {
        const size_t columns = size_of("COLUMNS", window().ws_col, 80);
        for (const std::string& line :
             top_frame(p.requests.json.get(), p.keys.json.get(), columns, all_rows)) {
            out.line(line);
        }
        return exit_well;
    }
    run_live(place, std::move(p));
    return exit_well;
}

} // namespace llm::ctl
