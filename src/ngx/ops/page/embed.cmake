# Makes one document with its styles and its script in it, and a C++ source that holds it.
#
# As a script (cmake -P) it makes one page:
#   NAME      of the page_document
#   TEMPLATE  HTML with the lines @style@ and @script@
#   STYLE     what comes for @style@
#   MODULES   JavaScript modules (a comma between them), each behind those that it imports. They become one module: `import` lines
#             and the word `export` go. So an import is one line, nothing is renamed by it, and no two modules have a top-level name
#             in common.
#   OUT       folder for NAME.html, NAME.policy and NAME.cpp

# Adds the page to a target: llm_embed_page(TARGET NAME TEMPLATE STYLE MODULE...).
function(llm_embed_page target name template style)
    list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE modules)
    list(JOIN modules "," joined)
    set(folder ${CMAKE_BINARY_DIR}/page)
    add_custom_command(
        OUTPUT ${folder}/${name}.cpp
        BYPRODUCTS ${folder}/${name}.html ${folder}/${name}.policy
        COMMAND ${CMAKE_COMMAND} -D NAME=${name} -D TEMPLATE=${CMAKE_CURRENT_SOURCE_DIR}/${template}
            -D STYLE=${CMAKE_CURRENT_SOURCE_DIR}/${style} -D MODULES=${joined} -D OUT=${folder}
            -P ${CMAKE_CURRENT_SOURCE_DIR}/ops/page/embed.cmake
        DEPENDS ${template} ${style} ${ARGN} ops/page/embed.cmake
        COMMENT "Making the page ${name}"
        VERBATIM)
    target_sources(${target} PRIVATE ${folder}/${name}.cpp)
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE)
    return()
endif()
cmake_minimum_required(VERSION 3.22)

# The SHA-256 of a text as a Content-Security-Policy writes it, in base64.
function(policy_hash text result)
    set(digits ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
    string(SHA256 hex "${text}")
    # 32 bytes are ten groups of three and two bytes more, which are written as if a zero followed.
    set(padded "${hex}00")
    set(encoded "")
    foreach(at RANGE 0 60 6)
        string(SUBSTRING "${padded}" ${at} 6 group)
        foreach(shift 18 12 6 0)
            math(EXPR digit "(0x${group} >> ${shift}) & 63")
            string(SUBSTRING "${digits}" ${digit} 1 character)
            string(APPEND encoded "${character}")
        endforeach()
    endforeach()
    string(SUBSTRING "${encoded}" 0 43 encoded)
    set(${result} "'sha256-${encoded}='" PARENT_SCOPE)
endfunction()

file(READ "${TEMPLATE}" page)
file(READ "${STYLE}" style)
set(script "")
string(REPLACE "," ";" MODULES "${MODULES}")
foreach(file ${MODULES})
    file(READ "${file}" module)
    string(APPEND script "\n${module}")
endforeach()
string(REGEX REPLACE "\nimport [^\n]*;" "" script "${script}")
string(REGEX REPLACE "\nexport " "\n" script "${script}")

foreach(part style script)
    # Such text would end its element, or hide its end.
    if("${${part}}" MATCHES "</|<!--")
        message(FATAL_ERROR "the ${part} of ${NAME} has \"</\" or \"<!--\" in it")
    endif()
    if(NOT "${page}" MATCHES "<${part}[^>]*>@${part}@</${part}>")
        message(FATAL_ERROR "${TEMPLATE} has no element for @${part}@")
    endif()
    policy_hash("${${part}}" ${part}_hash)
endforeach()
string(REPLACE "@style@" "${style}" page "${page}")
string(REPLACE "@script@" "${script}" page "${page}")

# Nothing may come from elsewhere or go there, and no text can become HTML or a script.
string(CONCAT policy "default-src 'none'; connect-src 'self'; style-src ${style_hash}; script-src ${script_hash}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")

file(WRITE "${OUT}/${NAME}.html" "${page}")
file(WRITE "${OUT}/${NAME}.policy" "${policy}")
file(READ "${OUT}/${NAME}.html" bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
string(REPEAT "......." 16 line)
string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")
file(WRITE "${OUT}/${NAME}.cpp" "// Made by the build.
#include \"ngx/ops/page_document.h\"

namespace llm {

namespace {

constexpr char bytes[] = {
${bytes}
};

} // namespace

constinit const page_document ${NAME} = {{bytes, sizeof bytes}, \"${policy}\"};

} // namespace llm
")
