/* The version that --version and .scoutfs tell. */
#ifndef SCOUTFS_VERSION_H
#define SCOUTFS_VERSION_H

#define SCOUTFS_VERSION "0.1.0"

#endif
