complete -c conf-send -l as -d 'What the others see as the name of the stream' -r
complete -c conf-send -s f -l format -d 'What comes in' -r -f -a "auto\t'Told by the first bytes'
conf\t'Frames, as conf-cam writes them'
h264\t'H.264 with start codes (Annex B)'
y4m\t'Uncompressed pictures'"
complete -c conf-send -l fps -d 'Pictures per second of raw H.264, where the stream does not say' -r
complete -c conf-send -l stdin-name -d 'Send what comes through the pipe as a file of this name, in chunks of 256 KiB: a slow pipe is seen when one is full; it cannot be resumed' -r
complete -c conf-send -l text -d 'Send a text; - for what comes in through the pipe' -r
complete -c conf-send -l to -d 'For one member only, who has to be in the room' -r
complete -c conf-send -l limit-rate -d 'Send at most so many bytes per second: 500K, 2M' -r
complete -c conf-send -l exclude -d 'Leave out what has such a name (\'*.o\'), or such a path (\'src/*/target\'); may be given several times' -r
complete -c conf-send -l withdraw -d 'Take an offer of yours back, by its number' -r
complete -c conf-send -l progress -d 'How progress is shown on stderr' -r -f -a "auto\t'Bars on a terminal, else lines'
bar\t'Bars'
plain\t'A line every 10 s and at the end'
json\t'One JSON object a line'
none\t'Nothing'"
complete -c conf-send -s r -l room -d 'The room: conf://HOST[:PORT]/ROOM' -r
complete -c conf-send -l name -d 'The name that the others see [default: the login name]' -r
complete -c conf-send -l password-file -d 'The room\'s password is the first line of this file, which nobody else may read' -r -F
complete -c conf-send -l connect-timeout -d 'How long one try to connect may take' -r
complete -c conf-send -l reconnect -d 'Give up after this many tries in a row to come back; 0 never comes back [default: never gives up]' -r
complete -c conf-send -l log-file -d 'Write the log to a file instead of stderr (-: stderr)' -r -F
complete -c conf-send -l log-format -d 'How the log is written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c conf-send -l color -d 'When to use colours on stderr' -r -f -a "auto\t'Where it makes sense'
always\t'Everywhere'
never\t'Nowhere'"
complete -c conf-send -l completions -d 'Print the completions of a shell' -r -f -a "bash\t''
elvish\t''
fish\t''
powershell\t''
zsh\t''"
complete -c conf-send -l pass -d 'Copy stdin to stdout as well'
complete -c conf-send -l resume -d 'Go on from where it broke off; this also happens without being asked for'
complete -c conf-send -l restart -d 'Begin anew, and take back what was sent of it before'
complete -c conf-send -l wait -d 'Stay until somebody has all of it, checked and on disk'
complete -c conf-send -s n -l dry-run -d 'Show what would be sent, and end'
complete -c conf-send -s q -l quiet -d 'Say less: errors only'
complete -c conf-send -s v -l verbose -d 'Say more; twice for everything'
complete -c conf-send -l no-input -d 'Never ask anything'
complete -c conf-send -l man -d 'Print the manual page'
complete -c conf-send -s h -l help -d 'Print help (see more with \'--help\')'
complete -c conf-send -s V -l version -d 'Print version'
