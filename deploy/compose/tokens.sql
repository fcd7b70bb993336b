-- Tokens already used lie apart from the record: callers are refused when this cannot be asked, cards never wait for the rest.
CREATE DATABASE dekacard_tokens OWNER dekacard;
