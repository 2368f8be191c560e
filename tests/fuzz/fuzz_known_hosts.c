/* Any bytes as a file of known_hosts and as a list of revoked keys: whatever is in them, the host's own
 * key, revoked by a last line of ours, is never taken. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sftp/knownhosts.h"

#define KEY "AAAAC3NzaC1lZDI1NTE5AAAAIJehHdoueK941iu30quM3D1UEVUbZVfR3stBk79QUMWo"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(int fd, const void *bytes, size_t len)
{
	if (write(fd, bytes, len) != (ssize_t)len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char last[] = "\n@revoked web ssh-ed25519 " KEY "\n";
	const struct scout_known_key *where;
	struct scout_known_keys known = {0}, revoked = {0};
	int fd = memfd_create("known_hosts", MFD_CLOEXEC);
	ssh_key key = NULL;
	char path[32];

	if (fd < 0 || ssh_pki_import_pubkey_base64(KEY, SSH_KEYTYPE_ED25519, &key) != SSH_OK)
		abort();
	put(fd, data, size);
	put(fd, last, strlen(last));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	scout_known_keys_read(&known, path, "web");
	if (scout_known_keys_look(&known, key, &where) != SCOUT_KNOWN_REVOKED &&
	    !known.lost_revoked)
		abort();
	(void)scout_known_keys_read_revoked(&revoked, path); /* a KRL's first bytes are refused */
	scout_known_keys_free(&known);
	scout_known_keys_free(&revoked);
	ssh_key_free(key);
	close(fd);
	return 0;
}
