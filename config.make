# Sourced by nginx's configure when it writes the Makefile.

cat << END >> $NGX_MAKEFILE

modules:	$NGX_OBJS/ngx_http_llm_module.so

.PHONY:	$NGX_OBJS/ngx_http_llm_module.so

$NGX_OBJS/ngx_http_llm_module.so:
	cmake -S "$ngx_addon_dir" -B $NGX_OBJS/llm \\
		-DLLM_NGINX_SOURCE="$PWD" -DLLM_NGINX_OBJS="\$(abspath $NGX_OBJS)"
	cmake --build $NGX_OBJS/llm --target ngx_http_llm_module
	cp $NGX_OBJS/llm/ngx_http_llm_module.so $NGX_OBJS/

END
