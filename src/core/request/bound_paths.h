// Where a request bounds the tokens of its completion.
#pragma once

#include "core/api/api.h"

#include <string_view>

namespace llm {

struct bound_path {
    std::string_view field;
    bound_names bound;
};

// All that any server reads as the bound of a completion's tokens: some read those of other APIs too, as
// llama.cpp does `n_predict` of a chat. Both spellings of Gemini's, see request_paths.h.
inline constexpr bound_path bound_paths[] = {
    {"max_tokens", bound_name::max_tokens},
    {"max_completion_tokens", bound_name::max_completion_tokens},
    {"max_output_tokens", bound_name::max_output_tokens},
    {"n_predict", bound_name::n_predict},
    {"options.num_predict", bound_name::num_predict},
    {"parameters.max_new_tokens", bound_name::parameters_max_new_tokens},
    {"sampling_params.max_new_tokens", bound_name::sampling_max_new_tokens},
    {"parameters.max_tokens", bound_name::parameters_max_tokens},
    {"parameters.sampling_params.max_new_tokens", bound_name::parameters_sampling_max_new_tokens},
    {"sampling_params.max_tokens", bound_name::sampling_max_tokens},
    {"inferenceConfig.maxTokens", bound_name::max_tokens_of_inference_config},
    {"max_length", bound_name::max_length},
    {"additionalModelRequestFields.max_tokens", bound_name::other},
    {"additionalModelRequestFields.max_completion_tokens", bound_name::other},
    {"additionalModelRequestFields.max_output_tokens", bound_name::other},
    {"additionalModelRequestFields.max_new_tokens", bound_name::other},
    {"additionalModelRequestFields.max_gen_len", bound_name::other},
    {"inferenceConfig.max_new_tokens", bound_name::other},
    {"max_gen_len", bound_name::other},
    {"max_new_tokens", bound_name::other},
    {"max_tokens_to_sample", bound_name::other},
    {"request_output_len", bound_name::other}, // of TensorRT-LLM
    {"parameters.request_output_len", bound_name::other},
    {"generationConfig.maxOutputTokens", bound_name::max_output_tokens_of_config},
    {"generationConfig.max_output_tokens", bound_name::max_output_tokens_of_config},
    {"generation_config.maxOutputTokens", bound_name::max_output_tokens_of_config},
    {"generation_config.max_output_tokens", bound_name::max_output_tokens_of_config},
};

} // namespace llm
