"""Scripts and chats to token ids and back: our own tokenizers, and others."""
