"""Who may read what runs write."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, field_validator, model_validator


class FileModes(BaseModel):
    """Who may read what runs write, as chmod has it in octal digits: by default its owner only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: str = "0600"
    folder_mode: str = "0700"

    @field_validator("mode", "folder_mode", mode="before")
    @classmethod
    def _is_octal(cls, mode: object) -> object:
        # YAML reads 0640 as 416, and 640 as a number that no octal digit stands for
        if not isinstance(mode, str) or not re.fullmatch(r"0?[0-7]{3}", mode):
            raise ValueError(f'{mode!r} is no mode; write octal digits in quotes, such as "0640"')
        return mode

    @model_validator(mode="after")
    def _suit_their_owner(self) -> FileModes:
        if self.file & 0o600 != 0o600 or self.folder & 0o700 != 0o700:
            raise ValueError("the owner must be able to read and write files and to enter folders")
        if self.file & 0o113 or self.folder & 0o002:
            raise ValueError("no file is a program, and not everybody may write: use 0640 and 0750")
        return self

    @property
    def file(self) -> int:
        return int(self.mode, 8)

    @property
    def folder(self) -> int:
        return int(self.folder_mode, 8)
