/* What libcurl calls with the bytes of an answer; arg is a struct scout_s3_transfer. Returning less
 * than came ends the attempt, and the transfer remembers why. */
#ifndef SCOUTFS_S3_CALLBACKS_H
#define SCOUTFS_S3_CALLBACKS_H

#include <curl/curl.h>
#include <stddef.h>

size_t scout_s3_on_header(char *line, size_t size, size_t n, void *arg);
size_t scout_s3_on_body(char *bytes, size_t size, size_t n, void *arg);
/* And for the bytes of a body that is sent. */
size_t scout_s3_on_send(char *dst, size_t size, size_t n, void *arg);
int scout_s3_on_rewind(void *arg, curl_off_t offset, int origin);

#endif
