#include "form_facts.h"

#include "core/base/bytes.h"
#include "core/base/chars.h"

#include <algorithm>
#include <cstring>

namespace llm {

namespace {

bool is_word(std::string_view text, std::string_view lowcase)
{
    return text.size() == lowcase.size()
           && std::equal(text.begin(), text.end(), lowcase.begin(),
                         [](char a, char b) { return ascii_lower(a) == b; });
}

std::string_view without_blanks(std::string_view text)
{
    while (!text.empty() && is_blank(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && is_blank(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

// The end of a parameter's value, which may be quoted: a semicolon outside of quotes, or the end.
size_t end_of_parameter(std::string_view text)
{
    bool quoted = false;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '"') {
            quoted = !quoted;
        } else if (quoted && text[i] == '\\') {
            ++i;
        } else if (!quoted && text[i] == ';') {
            return i;
        }
    }
    return text.size();
}

bool is_boundary(std::string_view text)
{
    return !text.empty() && text.size() <= form_facts::max_boundary && !is_blank(text.back())
           && std::none_of(text.begin(), text.end(),
                           [](char c) { return is_control(c) || c == '"' || c == '\\'; });
}

} // namespace

std::string_view form_boundary(std::string_view content_type)
{
    std::string_view found;
    size_t at = end_of_parameter(content_type);
    while (at < content_type.size()) {
        std::string_view rest = content_type.substr(at + 1);
        const size_t end = end_of_parameter(rest);
        const std::string_view parameter = rest.substr(0, end);
        at += 1 + end;

        const size_t equals = parameter.find('=');
        const std::string_view name = without_blanks(parameter.substr(0, equals));
        if (!is_word(name.substr(0, 8), "boundary") || equals == std::string_view::npos) {
            continue;
        }
        std::string_view value = without_blanks(parameter.substr(equals + 1));
        const bool quoted = value.size() >= 2 && value.front() == '"' && value.back() == '"';
        if (quoted) {
            value = value.substr(1, value.size() - 2);
        }
        // Servers differ in which of two counts, and in what "boundary*" is.
        if (name.size() != 8 || !found.empty() || !is_boundary(value)
            || (!quoted && value.find_first_of(" \t,") != std::string_view::npos)) {
            return {};
        }
        found = value;
    }
    return found;
}

void form_facts::word::add(char c)
{
    if (size == sizeof text) {
        longer = true;
        return;
    }
    text[size++] = c;
}

bool form_facts::word::is(std::string_view lowcase) const
{
    return !longer && is_word(view(), lowcase);
}

size_t form_facts::feed(std::string_view piece)
{
    size_t at = 0;
    while (at < piece.size()) {
        if (step_ == step::content) {
            // Nearly all of a form is what its files are made of: only a line's begin may be more.
            if (!is_model_) {
                const void* end = std::memchr(piece.data() + at, '\n', piece.size() - at);
                const size_t next =
                    end ? static_cast<size_t>(static_cast<const char*>(end) - piece.data()) : piece.size();
                if (next != at) {
                    last_ = piece[next - 1];
                    at = next;
                    continue;
                }
            }
        } else if (is_ == kind::object || is_ == kind::other) {
            break;
        }
        next_ = bytes_ + at + 1;
        take(piece[at]);
        if (is_ == kind::object) {
            break;
        }
        last_ = piece[at];
        ++at;
    }
    const size_t taken = is_ == kind::object ? at : piece.size();
    bytes_ += taken;
    return taken;
}

void form_facts::finish()
{
    if (is_ == kind::form && first_) {
        is_ = kind::other;
    }
    // The name's part may go on in what did not come.
    unclear_ = unclear_ || !closed_;
    if (!closed_) {
        line_ = bytes_ + 2;
        end_part();
    }
}

void form_facts::take(char c)
{
    switch (step_) {
    case step::begin:
        begin(c);
        break;
    case step::delimiter:
        delimiter(c);
        break;
    case step::after_it:
    case step::close:
        after_delimiter(c);
        break;
    case step::header_name:
        header_name(c);
        break;
    case step::header_value:
        header_value(c);
        break;
    case step::header_end:
        unclear_ = unclear_ || c != '\n';
        begin_content();
        break;
    case step::content:
        content(c);
        break;
    case step::epilogue:
        unclear_ = unclear_ || (c != '\r' && c != '\n');
        break;
    }
}

void form_facts::begin(char c)
{
    if (is_space(c)) {
        return;
    }
    if (c == '{') {
        is_ = kind::object;
        return;
    }
    if (c != '-' || last_ != '\n' || boundary_.empty()) {
        is_ = kind::other;
        return;
    }
    is_ = kind::form;
    step_ = step::delimiter;
    matched_ = 1;
}

void form_facts::delimiter(char c)
{
    const char wanted = matched_ < 2 ? '-' : boundary_[matched_ - 2u];
    if (c != wanted) {
        failed_delimiter(c);
        return;
    }
    if (++matched_ == boundary_.size() + 2) {
        unclear_ = unclear_ || bare_line_;
        step_ = step::after_it;
    }
}

// A line that only begins like a delimiter.
void form_facts::failed_delimiter(char c)
{
    if (first_) {
        is_ = kind::other;
        return;
    }
    if (is_model_ && first_line_) {
        for (uint16_t i = 0; i < matched_; ++i) {
            add_to_model(i < 2 ? '-' : boundary_[i - 2u]);
        }
    }
    // A name of two lines is none.
    unclear_ = unclear_ || (is_model_ && !first_line_);
    step_ = step::content;
    take(c);
}

void form_facts::add_to_model(char c)
{
    if (is_control(c) || model_size_ == max_model) {
        unclear_ = true;
        return;
    }
    model_[model_size_++] = c;
}

void form_facts::after_delimiter(char c)
{
    if (step_ == step::close) {
        if (c != '-' && first_) {
            is_ = kind::other;
            return;
        }
        unclear_ = unclear_ || c != '-';
        end_part();
        closed_ = true;
        first_ = false;
        step_ = step::epilogue;
        return;
    }
    if (c == '\n') {
        unclear_ = unclear_ || last_ != '\r';
        end_part();
        first_ = false;
        begin_part();
        return;
    }
    if (c == '-' && !is_blank(last_) && last_ != '\r') {
        step_ = step::close;
        return;
    }
    if (is_blank(c) || c == '\r') {
        return;
    }
    // Another boundary that begins like this one, or no line of its own.
    if (first_) {
        is_ = kind::other;
        return;
    }
    unclear_ = true;
    step_ = step::content;
    take(c);
}

void form_facts::begin_part()
{
    step_ = step::header_name;
    has_disposition_ = has_name_ = has_file_ = is_model_ = name_is_model_ = is_prompt_ = false;
    name_.clear();
}

void form_facts::end_part()
{
    // An empty name leaves it to the server, as none does.
    unclear_ = unclear_ || (is_model_ && model_size_ == 0);
    is_model_ = false;
    if (has_file_) {
        ++files_;
    } else if (is_prompt_ && line_ > content_ + 2) {
        prompt_bytes_ += line_ - content_ - 2; // less the line end before the delimiter
    }
    has_file_ = is_prompt_ = false;
}

void form_facts::header_name(char c)
{
    if (c == '\n') {
        // A line without a colon; or only a line feed where an empty line should be.
        unclear_ = true;
        if (name_.size == 0) {
            begin_content();
        } else {
            name_.clear();
        }
        return;
    }
    if (c == '\r' && name_.size == 0) {
        step_ = step::header_end;
        return;
    }
    if (c == ':') {
        begin_value();
        return;
    }
    // Also a line that goes on with the one before.
    unclear_ = unclear_ || is_blank(c) || is_control(c);
    name_.add(c);
}

void form_facts::begin_value()
{
    header_ = name_.is("content-disposition")         ? header::disposition
              : name_.is("content-transfer-encoding") ? header::encoding
                                                      : header::other;
    if (header_ == header::disposition) {
        unclear_ = unclear_ || has_disposition_;
        has_disposition_ = true;
        disposition_ = next_;
        place_ = place::type;
    }
    name_.clear();
    value_.clear();
    step_ = step::header_value;
}

void form_facts::header_value(char c)
{
    if (c == '\n') {
        unclear_ = unclear_ || last_ != '\r';
        end_value();
        name_.clear();
        step_ = step::header_name;
        return;
    }
    if (last_ == '\r' || (is_control(c) && c != '\r' && c != '\t')) {
        unclear_ = true;
    }
    if (c == '\r') {
        return;
    }
    if (header_ == header::disposition) {
        disposition(c);
    } else if (header_ == header::encoding && !is_blank(c)) {
        value_.add(c);
    }
}

void form_facts::end_value()
{
    if (header_ == header::disposition) {
        if (place_ == place::type) {
            unclear_ = true; // it has no name
        } else if (place_ == place::token || place_ == place::after_value) {
            end_parameter();
        } else if (place_ != place::name_begin) {
            unclear_ = true;
        }
    } else if (header_ == header::encoding) {
        unclear_ = unclear_ || !(value_.is("7bit") || value_.is("8bit") || value_.is("binary"));
    }
}

void form_facts::disposition(char c)
{
    switch (place_) {
    case place::type:
        if (c == ';') {
            unclear_ = unclear_ || !value_.is("form-data");
            place_ = place::name_begin;
        } else if (!is_blank(c)) {
            value_.add(c);
        }
        break;
    case place::name_begin:
        if (is_blank(c)) {
            break;
        }
        name_.clear();
        value_.clear();
        place_ = place::name;
        [[fallthrough]];
    case place::name:
        if (c == '=') {
            place_ = place::value_begin;
        } else {
            unclear_ = unclear_ || c == ';' || c == '"' || is_blank(c);
            name_.add(c);
        }
        break;
    case place::value_begin:
        place_ = c == '"' ? place::quoted : place::token;
        escapes_ = false;
        if (c == '"') {
            break;
        }
        [[fallthrough]];
    case place::token:
        if (c == ';') {
            end_parameter();
            place_ = place::name_begin;
        } else if (is_blank(c)) {
            place_ = place::after_value;
        } else {
            unclear_ = unclear_ || c == '"';
            value_.add(c);
        }
        break;
    case place::quoted:
        if (c == '"') {
            place_ = place::after_value;
        } else if (c == '\\') {
            place_ = place::escaped;
        } else {
            unclear_ = unclear_ || (escapes_ && c == ';');
            value_.add(c);
        }
        break;
    case place::escaped:
        // To some the backslash of an old browser's path, to others what takes the quote's meaning away, as
        // curl writes it. Of a file's name that does not matter, unless what follows could be a parameter.
        unclear_ = unclear_ || ((c == '"' || c == '\\') && !name_.is("filename"));
        escapes_ = true;
        value_.add(c);
        place_ = place::quoted;
        break;
    case place::after_value:
        if (c == ';') {
            end_parameter();
            place_ = place::name_begin;
        } else {
            unclear_ = unclear_ || !is_blank(c);
        }
        break;
    }
}

void form_facts::end_parameter()
{
    if (name_.is("filename") || name_.is("filename*")) {
        has_file_ = true;
    } else if (is_word(name_.view().substr(0, 5), "name*")) {
        unclear_ = true; // also "name*0" and its like, of which a name may be put together
    } else if (name_.is("name")) {
        unclear_ = unclear_ || has_name_;
        has_name_ = true;
        name_is_model_ = value_.is("model");
        is_prompt_ = value_.is("prompt");
        // Some servers match names without case.
        unclear_ = unclear_ || (name_is_model_ && value_.view() != "model");
    }
}

void form_facts::begin_content()
{
    unclear_ = unclear_ || !has_disposition_ || !has_name_;
    is_model_ = false;
    if (name_is_model_) {
        // A file is no text to servers; and they differ in which of two counts.
        unclear_ = unclear_ || has_file_ || has_model_;
        is_model_ = !has_model_;
        has_model_ = true;
        model_disposition_ = disposition_;
        model_begin_ = next_;
    }
    content_ = line_ = next_;
    // An empty part ends with the line end of its header.
    first_line_ = true;
    bare_line_ = false;
    step_ = step::delimiter;
    matched_ = 0;
}

void form_facts::content(char c)
{
    if (c == '\n') {
        first_line_ = false;
        bare_line_ = last_ != '\r';
        line_ = next_;
        step_ = step::delimiter;
        matched_ = 0;
        return;
    }
    if (is_model_) {
        unclear_ = unclear_ || last_ == '\r';
        if (c != '\r') {
            add_to_model(c);
        }
    }
}

} // namespace llm
