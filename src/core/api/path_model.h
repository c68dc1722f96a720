// Models that paths name, beside Gemini's, whose own row reads them; and which paths have none.
#pragma once

#include "api.h"

#include <string_view>

namespace llm {

struct path_model {
    std::string_view name = {}; // a part of the path
    bool streams = false;
    bool unclear = false; // servers may read another name in it
    bool to_make = false; // see api_call::model_to_make
};

// Paths are in small letters, but for lists_models(), and have no query.

// As Azure has it in ".../deployments/NAME/...", or Bedrock in ".../model/NAME/invoke".
path_model model_in_path(std::string_view path);

// What servers of OpenAI's API do without any model on this path, where nothing is generated. `name` is its
// last segment.
model_need need_of_path(std::string_view path, std::string_view name);

// What of a request to this path, of a server of OpenAI's API or one beside it, is not looked at.
hidden_parts hidden_in_path(std::string_view path);

// Whether what is done there ends something that runs, by its name alone.
bool cancels(std::string_view path);

// Whether what is read at this path is a list of models, in any API that has one.
bool lists_models(std::string_view path);

// Whether nothing is generated below this path, or no text: sound, pictures, and what is stored or only
// looked up. `name` is its last segment.
bool has_no_text(std::string_view path, std::string_view name);

// Whether `path` has the whole segments of `part`, which begins with a slash.
bool has_segments(std::string_view path, std::string_view part);

} // namespace llm
