# Varnish as a cache.
vcl 4.1;
backend origin { .host = "@ORIGIN_HOST@"; .port = "@ORIGIN_PORT@"; }
