# Sourced by nginx's configure when it writes the Makefile.

# Where nginx's own rules for "make install" put dynamic modules. They are for modules that nginx itself links.
case $NGX_MODULES_PATH in
    /*) llm_install_path=$NGX_MODULES_PATH ;;
    *) llm_install_path=$NGX_PREFIX/$NGX_MODULES_PATH ;;
esac

# The "+" gives CMake's make its part of the jobs of a "make -j". It also lets a "make -n" come here, when there may be no
# such folder yet.
cat << END >> $NGX_MAKEFILE

modules:	$NGX_OBJS/ngx_http_llm_module.so

install:	install_llm_module

.PHONY:	$NGX_OBJS/ngx_http_llm_module.so install_llm_module

$NGX_OBJS/ngx_http_llm_module.so:
	cmake -S "$ngx_addon_dir" -B $NGX_OBJS/llm -G "Unix Makefiles" \\
		-DLLM_NGINX_SOURCE="$PWD" -DLLM_NGINX_OBJS="\$(abspath $NGX_OBJS)"
	+test ! -d $NGX_OBJS/llm || cmake --build $NGX_OBJS/llm --target ngx_http_llm_module
	cp $NGX_OBJS/llm/ngx_http_llm_module.so $NGX_OBJS/

install_llm_module:	$NGX_OBJS/ngx_http_llm_module.so
	test -d '\$(DESTDIR)$llm_install_path' \\
		|| mkdir -p '\$(DESTDIR)$llm_install_path'
	test ! -f '\$(DESTDIR)$llm_install_path/ngx_http_llm_module.so' \\
		|| mv '\$(DESTDIR)$llm_install_path/ngx_http_llm_module.so' \\
			'\$(DESTDIR)$llm_install_path/ngx_http_llm_module.so.old'
	cp $NGX_OBJS/ngx_http_llm_module.so '\$(DESTDIR)$llm_install_path/'

END
