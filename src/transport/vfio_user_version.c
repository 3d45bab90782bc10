/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "transport/vfio_user_command.h"

/* The twin socket. */
SYSCALLS(SYSCALL_IF(socketpair, ARG_IS(0, AF_UNIX), ARG_IS(1, SOCK_STREAM | SOCK_CLOEXEC)));

/* A number that the client may leave out: kept as it is then. -EINVAL if it is no number. */
static int read_number(json_t *capabilities, const char *key, uint64_t *value)
{
	json_t *number = json_object_get(capabilities, key);

	if (!number)
		return 0;
	if (!json_is_integer(number) || json_integer_value(number) < 0)
		return -EINVAL;
	*value = (uint64_t)json_integer_value(number);
	return 0;
}

struct proposal {
	uint64_t max_xfer, max_fds;
	bool write_multiple, twin_socket;
};

/* What we can do, in a subset of what was proposed. */
static json_t *our_version_data(const struct proposal *proposal, bool twin)
{
	json_t *capabilities = json_pack("{s:i, s:i, s:i, s:i}", "max_msg_fds", VFIO_USER_MAX_FDS,
					 "max_data_xfer_size", VFIO_USER_MAX_XFER, "max_dma_maps",
					 VFIO_DMA_MAX_MAPS, "pgsizes", 4096);

	if (proposal->write_multiple)
		json_object_set_new(capabilities, "write_multiple", json_true());
	if (twin)
		json_object_set_new(capabilities, "twin_socket",
				    json_pack("{s:b, s:i}", "supported", 1, "fd_index", 0));
	return json_pack("{s:o}", "capabilities", capabilities);
}

static int parse_capabilities(json_t *capabilities, struct proposal *proposal)
{
	int r = read_number(capabilities, "max_data_xfer_size", &proposal->max_xfer);

	if (r == 0)
		r = read_number(capabilities, "max_msg_fds", &proposal->max_fds);
	proposal->write_multiple = json_is_true(json_object_get(capabilities, "write_multiple"));
	proposal->twin_socket = json_is_true(
		json_object_get(json_object_get(capabilities, "twin_socket"), "supported"));
	return r;
}

static int parse_proposal(const struct vfio_user_message *message, struct proposal *ret)
{
	const char *text = (const char *)message->payload + sizeof(struct vfio_user_version);
	size_t length = message->length - sizeof(struct vfio_user_version);
	struct proposal proposal = { .max_xfer = VFIO_USER_MAX_XFER, .max_fds = 1 };
	json_t *data, *capabilities;
	int r;

	*ret = proposal;
	if (!length)
		return 0;
	if (text[length - 1])
		return -EINVAL;

	data = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	capabilities = json_object_get(data, "capabilities");
	if (!json_is_object(data) || (capabilities && !json_is_object(capabilities)))
		r = -EINVAL;
	else
		r = parse_capabilities(capabilities, &proposal);
	json_decref(data);
	if (r == 0)
		*ret = proposal;
	return r;
}

/* Both ends of the twin socket. A client can do without it: its absence is no error. */
static bool make_twin(struct vfio_user_session *session)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	session->twin_tx = malloc(VFIO_USER_MAX_MESSAGE);
	if (!session->twin_tx || vfio_user_conn_init(&session->twin, pair[0]) < 0) {
		if (!session->twin_tx)
			close_fd(pair[0]);
		free(session->twin_tx);
		session->twin_tx = NULL;
		close_fd(pair[1]);
		return false;
	}
	session->twin_peer = pair[1];
	session->has_twin = true;
	return true;
}

/* The client has not been told of it, and may ask once more. */
static void unmake_twin(struct vfio_user_session *session)
{
	vfio_user_conn_done(&session->twin);
	free(session->twin_tx);
	session->twin_tx = NULL;
	session->twin_peer = close_fd(session->twin_peer);
	session->has_twin = false;
}

static int make_reply(struct vfio_user_session *session, const struct proposal *proposal,
		      struct vfio_user_version version, struct vfio_user_reply *reply)
{
	bool twin = proposal->twin_socket && proposal->max_fds && make_twin(session);
	json_t *data = our_version_data(proposal, twin);
	char *text = data ? json_dumps(data, JSON_COMPACT) : NULL;

	json_decref(data);
	if (!text && twin)
		unmake_twin(session);
	if (!text)
		return -ENOMEM;
	memcpy(reply->payload, &version, sizeof(version));
	memcpy(reply->payload + sizeof(version), text, strlen(text) + 1);
	reply->length = sizeof(version) + strlen(text) + 1;
	free(text);
	if (twin)
		reply->fds[reply->n_fds++] = session->twin_peer;
	return 0;
}

int vfio_user_version(struct vfio_user_session *session, const struct vfio_user_message *message,
		      struct vfio_user_reply *reply)
{
	struct vfio_user_version version;
	struct proposal proposal;
	int r;

	if (session->negotiated)
		return -EINVAL;
	memcpy(&version, message->payload, sizeof(version));
	if (version.major != VFIO_USER_MAJOR) {
		log_ratelimited(LOG_LEVEL_WARNING,
				"the client speaks vfio-user %u.%u, we speak %u.%u", version.major,
				version.minor, VFIO_USER_MAJOR, VFIO_USER_MINOR);
		return -EPROTONOSUPPORT;
	}
	r = parse_proposal(message, &proposal);
	if (r < 0)
		return r;
	if (version.minor > VFIO_USER_MINOR)
		version.minor = VFIO_USER_MINOR;
	r = make_reply(session, &proposal, version, reply);
	if (r < 0)
		return r;

	if (proposal.max_xfer < VFIO_USER_MAX_XFER)
		session->peer_max_xfer = proposal.max_xfer;
	session->peer_max_fds = proposal.max_fds;
	/* Nobody but QEMU knows that capability, and only some QEMUs have another layout. */
	if (proposal.write_multiple)
		session->dma_layout = DMA_LAYOUT_TO_BE_LEARNT;
	session->negotiated = true;
	return 0;
}
