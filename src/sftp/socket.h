/* The socket of the session that a thread serves, read by 64 KiB.
 *
 * libssh takes 4 KiB from a socket at a time, with a poll(2) before each, and cannot be told otherwise. So recv(3)
 * and poll(3) of the whole program are ours, which the dynamic linker prefers to libc's: for the socket that the
 * calling thread has attached recv hands out what it read ahead, and poll says at once that there is some. All
 * else goes on to the kernel as it is. */
#ifndef SFTP_SOCKET_H
#define SFTP_SOCKET_H

#include <stdbool.h>

/* From now on fd is the calling thread's. */
void scout_sftp_socket_attach(int fd);
/* It is no more; what was read ahead of it is lost. */
void scout_sftp_socket_detach(void);
/* Whether something of it was read that recv has not handed out. */
bool scout_sftp_socket_has_more(void);

#endif
