/* The command line; see options.h. */
#include "options.h"

#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* For the kernel or libfuse; a pattern that ends in = takes a value. */
static const char *const mount_options[] = {
    "ro",           "rw",          "suid",       "nosuid",
    "dev",          "nodev",       "exec",       "noexec",
    "atime",        "noatime",     "sync",       "async",
    "dirsync",      "allow_other", "allow_root", "default_permissions",
    "auto_unmount", "fsname=*",    "subtype=*",  "max_read=*",
    NULL,
};

/* mount(8)'s and systemd's own words, which a filesystem lets pass, and what libfuse does not know and
 * has no meaning here, where reading leaves no trace, or which the kernel has given up. */
static const char *const passed_over[] = {
    "_netdev",  "user",     "nouser",     "users",       "owner",         "group",    "auto",
    "noauto",   "nofail",   "defaults",   "comment=*",   "x-*",           "user=*",   "nodiratime",
    "diratime", "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime",
    "silent",   "loud",     "iversion",   "noiversion",  "mand",          "nomand",   NULL,
};

/* Secrets on a command line can be read by everybody on the machine. */
static const char *const secrets[] = {
    "models.secret_access_key=*",
    "models.session_token=*",
    NULL,
};

static bool is_one_of(const char *const *patterns, const char *word)
{
	for (; *patterns; patterns++) {
		if (fnmatch(*patterns, word, 0) == 0)
			return true;
	}
	return false;
}

static int add(char ***list, size_t *count, const char *word)
{
	char **grown = reallocarray(*list, *count + 1, sizeof(**list));

	if (!grown)
		return -ENOMEM;
	*list = grown;
	grown[*count] = strdup(word);
	if (!grown[*count])
		return -ENOMEM;
	(*count)++;
	return 0;
}

int scout_options_add_mount(struct scout_options *o, const char *option)
{
	return add(&o->mount, &o->nmount, option);
}

static int parse_number(const char *word, int base, unsigned long max, FILE *errors,
			unsigned long *ret)
{
	const char *value = strchr(word, '=') + 1;
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(value, &end, base);
	if (errno || *end || *value < '0' || *value > '9' || number > max) {
		fprintf(errors, "scoutfs: -o %s: not a number from 0 to %lu\n", word, max);
		return -EINVAL;
	}
	*ret = number;
	return 0;
}

static int parse_word(struct scout_options *o, const char *word, FILE *errors)
{
	const char *equals = strchr(word, '='), *dot = strchr(word, '.');
	unsigned long number;
	int err;

	if (!*word || is_one_of(passed_over, word))
		return 0;
	if (is_one_of(secrets, word)) {
		fprintf(errors,
			"scoutfs: -o %.*s: a secret does not belong on a command line; put it into "
			"the config file or ~/.aws/credentials\n",
			(int)(equals - word), word);
		return -EINVAL;
	}
	if (is_one_of(mount_options, word))
		return scout_options_add_mount(o, word);
	if (strncmp(word, "uid=", 4) == 0) {
		err = parse_number(word, 10, UINT32_MAX - 1UL, errors, &number);
		if (!err)
			o->uid = (uid_t)number;
		return err;
	}
	if (strncmp(word, "gid=", 4) == 0) {
		err = parse_number(word, 10, UINT32_MAX - 1UL, errors, &number);
		if (!err)
			o->gid = (gid_t)number;
		return err;
	}
	if (strncmp(word, "umask=", 6) == 0) {
		err = parse_number(word, 8, 0777, errors, &number);
		if (!err)
			o->umask = (mode_t)number;
		return err;
	}
	if (equals && dot && dot < equals)
		return add(&o->overrides, &o->noverrides, word);
	fprintf(errors, "scoutfs: -o %s: unknown mount option\n", word);
	return -EINVAL;
}

/* Words are separated by commas; \, and \\ stand for themselves. */
static int parse_words(struct scout_options *o, const char *arg, FILE *errors)
{
	char *word = malloc(strlen(arg) + 1);
	size_t len = 0;
	int err = 0;

	if (!word)
		return -ENOMEM;
	for (; !err; arg++) {
		if (*arg == '\\' && (arg[1] == ',' || arg[1] == '\\')) {
			word[len++] = *++arg;
		} else if (*arg == ',' || !*arg) {
			word[len] = '\0';
			len = 0;
			err = parse_word(o, word, errors);
			if (!*arg)
				break;
		} else {
			word[len++] = *arg;
		}
	}
	free(word);
	return err;
}

static int parse_positional(struct scout_options *o, int argc, char **argv, FILE *errors)
{
	int most = 2, least = o->command == SCOUT_CHECK ? 0 : 1;

	if (argc < least) {
		fprintf(errors, "scoutfs: no mount point given (see scoutfs --help)\n");
		return -EINVAL;
	}
	if (argc > most) {
		fprintf(errors, "scoutfs: %s: one argument too many (see scoutfs --help)\n",
			argv[most]);
		return -EINVAL;
	}
	if (argc == 2 || (argc == 1 && o->command == SCOUT_CHECK))
		o->config = argv[0];
	if (o->command == SCOUT_MOUNT)
		o->mountpoint = argv[argc - 1];
	/* what fstab says when a filesystem has no device */
	if (o->config && strcmp(o->config, "none") == 0)
		o->config = NULL;
	return 0;
}

int scout_options_parse(int argc, char **argv, FILE *errors, struct scout_options *ret)
{
	static const struct option longs[] = {
	    {"check", no_argument, NULL, 'c'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	int c, err = 0;

	*ret = (struct scout_options){.uid = (uid_t)-1, .gid = (gid_t)-1};
	optind = 0;
	opterr = 0;
	while (!err && (c = getopt_long(argc, argv, "fdshVo:", longs, NULL)) != -1) {
		switch (c) {
		case 'f':
			ret->foreground = true;
			break;
		case 'd':
			ret->debug = ret->foreground = true;
			break;
		case 's':
			ret->single = true;
			break;
		case 'c':
			ret->command = SCOUT_CHECK;
			break;
		case 'h':
			ret->command = SCOUT_HELP;
			return 0;
		case 'V':
			ret->command = SCOUT_VERSION;
			return 0;
		case 'o':
			err = parse_words(ret, optarg, errors);
			break;
		default:
			fprintf(errors, "scoutfs: %s: unknown option, or its value is missing\n",
				argv[optind - 1]);
			err = -EINVAL;
		}
	}
	return err ? err : parse_positional(ret, argc - optind, argv + optind, errors);
}

void scout_options_free(struct scout_options *o)
{
	for (size_t i = 0; i < o->noverrides; i++)
		free(o->overrides[i]);
	for (size_t i = 0; i < o->nmount; i++)
		free(o->mount[i]);
	free(o->overrides);
	free(o->mount);
}

void scout_options_help(FILE *out)
{
	fputs("usage: scoutfs [CONFIG] MOUNTPOINT [options]\n"
	      "       scoutfs --check [CONFIG] [options]\n"
	      "\n"
	      "Mounts remote hosts (SFTP) and a model registry (S3) as files:\n"
	      "  MOUNTPOINT/hosts/<name>/<path>\n"
	      "  MOUNTPOINT/models/<id>/<version>/model.zip\n"
	      "  MOUNTPOINT/.scoutfs/status\n"
	      "\n"
	      "Without CONFIG: $XDG_CONFIG_HOME/scoutfs/scoutfs.ini, then /etc/scoutfs.ini, else "
	      "the\n"
	      "defaults, with the hosts of ~/.ssh/config. Unmount with: fusermount3 -u MOUNTPOINT\n"
	      "\n"
	      "  -f                        stay in the foreground, log to stderr\n"
	      "  -d                        the same, with libfuse's debug output\n"
	      "  -s                        one FUSE thread\n"
	      "  -o OPT[,OPT...]           mount options:\n"
	      "     SECTION.KEY=VALUE      a key of the config, such as hosts.connect_timeout=5s\n"
	      "     uid=N, gid=N           show this owner and group on every file\n"
	      "     umask=M                take these permission bits (octal) from every file\n"
	      "     ro, allow_other, allow_root, default_permissions, auto_unmount, fsname=NAME, "
	      "...\n"
	      "  --check                   check the config, print it with its defaults, and the "
	      "hosts\n"
	      "  -h, --help                this text\n"
	      "  -V, --version             the version\n"
	      "\n"
	      "Exit status: 0 mounted (or, with -f, unmounted), 1 could not mount, 2 bad command "
	      "line or\n"
	      "config.\n",
	      out);
}
