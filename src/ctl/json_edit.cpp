#include "json_edit.h"

#include "json_text_writer.h"
#include "keys/json_locate.h"

#include <algorithm>

namespace llm::ctl {

namespace {

std::string_view part(std::string_view text, size_t from, size_t to)
{
    return text.substr(from, to - from);
}

bool has_line(std::string_view text)
{
    return text.find('\n') != std::string_view::npos;
}

// White space before the child `i`: behind the comma or the brace.
std::string_view space_before(std::string_view text, size_t container,
                              const std::vector<json_child>& children, size_t i)
{
    const size_t from = i == 0 ? container + 1 : text.find(',', children[i - 1].end) + 1;
    return part(text, from, children[i].name);
}

// White space before the line that `at` is in has anything else.
std::string indent_of(std::string_view text, size_t at)
{
    const size_t start = text.rfind('\n', at) + 1;
    const size_t end = std::min(text.find_first_not_of(" \t", start), at);
    return std::string(part(text, start, end));
}

size_t closing(std::string_view text, size_t container, const std::vector<json_child>& children)
{
    return json_skip_space(text, children.empty() ? container + 1 : children.back().end);
}

const json_child* find_child(std::string_view text, const std::vector<json_child>& children,
                             std::string_view name)
{
    const auto found = std::find_if(children.begin(), children.end(), [&](const json_child& each) {
        return json_string_at(text, each.name) == name;
    });
    return found == children.end() ? nullptr : &*found;
}

// How the object is written; `all` is for what it does not show.
json_style style_of(std::string_view text, size_t object, const std::vector<json_child>& children,
                    const json_style& all)
{
    json_style style = all;
    if (children.empty()) {
        return style;
    }
    const json_child& last = children.back();
    style.colon = part(text, last.name_end, last.value);
    style.pad = space_before(text, object, children, 0);
    style.end_pad = part(text, last.end, closing(text, object, children));
    if (children.size() > 1) {
        style.gap = space_before(text, object, children, children.size() - 1);
        // Only some lines are broken: what is new goes on in the line.
        if (has_line(style.gap) && !has_line(style.pad)) {
            const std::string_view second = space_before(text, object, children, 1);
            style.gap = has_line(second) ? all.gap : second;
        }
    } else if (has_line(style.pad)) {
        style.gap = style.pad;
    }
    return style;
}

void erase_child(std::string& text, size_t container, const std::vector<json_child>& children, size_t index)
{
    if (index > 0) {
        text.erase(children[index - 1].end, children[index].end - children[index - 1].end);
    } else if (children.size() > 1) {
        text.erase(children[0].name, children[1].name - children[0].name);
    } else {
        text.erase(container + 1, children[0].end - container - 1);
    }
}

} // namespace

std::string object_text(const json_members& members, const json_style& style)
{
    std::string text = "{" + style.pad;
    for (size_t i = 0; i < members.size(); i++) {
        text += i == 0 ? "" : "," + style.gap;
        text += json_quoted(members[i].first) + style.colon + members[i].second;
    }
    return text + style.end_pad + "}";
}

std::string array_text(const std::vector<std::string>& items, const json_style& style)
{
    std::string text = "[";
    for (size_t i = 0; i < items.size(); i++) {
        text += i == 0 ? "" : "," + (has_line(style.gap) ? " " : style.gap);
        text += items[i];
    }
    return text + "]";
}

json_style inline_style(std::string_view text)
{
    // A text that has no space behind its first colon has none anywhere, or does not mind.
    const size_t brace = json_skip_space(text, 0);
    const std::vector<json_child> children = json_children(text, brace);
    json_style style;
    if (!children.empty() && part(text, children[0].name_end, children[0].value) == ":") {
        style = {":", "", "", ""};
    }
    return style;
}

std::optional<size_t> find_value(std::string_view text, size_t object, std::string_view name)
{
    const std::vector<json_child> children = json_children(text, object);
    const json_child* found = find_child(text, children, name);
    return found ? std::optional(found->value) : std::nullopt;
}

void set_member(std::string& text, size_t object, std::string_view name, std::string_view value)
{
    const std::vector<json_child> children = json_children(text, object);
    if (const json_child* found = find_child(text, children, name)) {
        text.replace(found->value, found->end - found->value, value);
        return;
    }
    const json_style style = style_of(text, object, children, inline_style(text));
    const std::string member = json_quoted(name) + style.colon + std::string(value);
    if (children.empty()) {
        text.replace(object + 1, closing(text, object, children) - object - 1,
                     style.pad + member + style.end_pad);
    } else {
        text.insert(children.back().end, "," + style.gap + member);
    }
}

void replace_member(std::string& text, size_t object, std::string_view old_name, std::string_view name,
                    std::string_view value)
{
    const std::vector<json_child> children = json_children(text, object);
    if (const json_child* found = find_child(text, children, old_name)) {
        text.replace(found->value, found->end - found->value, value);
        text.replace(found->name, found->name_end - found->name, json_quoted(name));
    }
}

void erase_member(std::string& text, size_t object, std::string_view name)
{
    const std::vector<json_child> children = json_children(text, object);
    if (const json_child* found = find_child(text, children, name)) {
        erase_child(text, object, children, static_cast<size_t>(found - children.data()));
    }
}

void append_objects(std::string& text, size_t array, std::span<const json_members> objects)
{
    if (objects.empty()) {
        return;
    }
    const std::vector<json_child> elements = json_children(text, array);
    const json_style all = inline_style(text);
    std::string more;
    if (!elements.empty()) {
        const json_child& last = elements.back();
        const json_style style = style_of(text, last.value, json_children(text, last.value), all);
        const std::string gap(space_before(text, array, elements, elements.size() - 1));
        for (const json_members& each : objects) {
            more += "," + gap + object_text(each, style);
        }
        text.insert(last.end, more);
        return;
    }
    const size_t end = closing(text, array, elements);
    const bool has_lines = has_line(text);
    const std::string line = text.find("\r\n") != std::string::npos ? "\r\n" : "\n";
    const std::string indent = indent_of(text, array);
    const std::string gap = has_lines ? line + indent + (indent.empty() ? "    " : indent) : all.gap;
    for (const json_members& each : objects) {
        more += (more.empty() ? (has_lines ? gap : "") : "," + gap) + object_text(each, all);
    }
    text.replace(array + 1, end - array - 1, more + (has_lines ? line + indent : ""));
}

void erase_element(std::string& text, size_t array, size_t index)
{
    erase_child(text, array, json_children(text, array), index);
}

} // namespace llm::ctl
