complete -c conf-chat -s m -l message -d 'Say this and end when the server has it; several are several messages' -r
complete -c conf-chat -l to -d 'Only for this member' -r
complete -c conf-chat -l who -d 'Show who is in the room and end, without joining it' -r -f -a "text\t'For people'
json\t'One JSON object'"
complete -c conf-chat -l export -d 'Write what was said to stdout and end' -r -f -a "md\t'Markdown'
txt\t'Plain text'
json\t'One JSON object a line'"
complete -c conf-chat -l history -d 'At most so many older messages: up to 1000, with --export any number or `all` [default: 200 on a terminal and for --export, else 0]' -r
complete -c conf-chat -l log -d 'Append what is said to a file' -r -F
complete -c conf-chat -l outbox -d 'Keep what is not sent yet in this file, for the next start [default: in the state directory on a terminal, else nowhere]' -r -F
complete -c conf-chat -l ack -d 'What a message must have reached before the program ends [default: stored, where the server stores]' -r -f -a "relayed\t'The server passed it on'
stored\t'The server has it on disk, where it keeps anything'"
complete -c conf-chat -l ack-timeout -d 'Give up when that takes longer, without any progress' -r
complete -c conf-chat -l notify -d 'How a terminal tells that one was named or addressed' -r -f -a "bell\t'BEL'
osc9\t'A desktop notification (iTerm2, kitty, `WezTerm`, Windows Terminal)'
osc777\t'A desktop notification (urxvt, VTE, foot)'
none\t'Not at all'"
complete -c conf-chat -s r -l room -d 'The room: conf://HOST[:PORT]/ROOM' -r
complete -c conf-chat -l name -d 'The name that the others see [default: the login name]' -r
complete -c conf-chat -l password-file -d 'The room\'s password is the first line of this file, which nobody else may read' -r -F
complete -c conf-chat -l connect-timeout -d 'How long one try to connect may take' -r
complete -c conf-chat -l reconnect -d 'Give up after this many tries in a row to come back; 0 never comes back [default: never gives up]' -r
complete -c conf-chat -l log-file -d 'Write the log to a file instead of stderr (-: stderr)' -r -F
complete -c conf-chat -l log-format -d 'How the log is written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c conf-chat -l color -d 'When to use colours on stderr' -r -f -a "auto\t'Where it makes sense'
always\t'Everywhere'
never\t'Nowhere'"
complete -c conf-chat -l completions -d 'Print the completions of a shell' -r -f -a "bash\t''
elvish\t''
fish\t''
powershell\t''
zsh\t''"
complete -c conf-chat -l json -d 'One JSON object a line, in and out'
complete -c conf-chat -s n -l listen -d 'Read nothing from stdin: only follow what the others say'
complete -c conf-chat -l no-mouse -d 'Leave the mouse to the terminal: no wheel, but text is marked without Shift'
complete -c conf-chat -s q -l quiet -d 'Say less: errors only'
complete -c conf-chat -s v -l verbose -d 'Say more; twice for everything'
complete -c conf-chat -l no-input -d 'Never ask anything'
complete -c conf-chat -l man -d 'Print the manual page'
complete -c conf-chat -s h -l help -d 'Print help (see more with \'--help\')'
complete -c conf-chat -s V -l version -d 'Print version'
