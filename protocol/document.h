/* PURE: no I/O */
/* docs/protocol.md from messages.def. */
#ifndef ORCH_DOCUMENT_H
#define ORCH_DOCUMENT_H

/* Caller frees. */
char *message_document(void);

#endif
