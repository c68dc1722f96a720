# Debian packages that the build and the tests need. Sourced by t/run.sh.

llm_packages="
    build-essential cmake ninja-build pkg-config clang libclang-rt-dev
    nginx nginx-dev libjansson-dev libssl-dev libsqlite3-dev sqlite3 libcurl4-openssl-dev
    libgtest-dev libbenchmark-dev
    perl python3 curl nghttp2-client ca-certificates openssl procps mandoc
    nodejs npm prometheus
"
# Those that only one stage needs.
llm_page_packages="chromium"

# Installs what is missing. Needs root for that.
install_packages() {
    missing=
    for package in "$@"; do
        case $package in
        # Another source than Debian's may have brought these.
        nodejs) command -v node > /dev/null && continue ;;
        npm) command -v npm > /dev/null && continue ;;
        python3) command -v python3 > /dev/null && continue ;;
        esac
        dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q ' installed$' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "these Debian packages are missing:$missing" >&2
        echo "install them, or run this as root" >&2
        return 1
    fi
    apt-get update -q
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}
