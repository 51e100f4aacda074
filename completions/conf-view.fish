complete -c conf-view -l only -d 'Only this member, or only this track of the member; the beginning of a name is enough' -r
complete -c conf-view -l layout -d 'How tiles share the window' -r -f -a "grid\t'All of a size'
speaker\t'One large, the others small'"
complete -c conf-view -l snapshot -d 'Write what is seen to a picture (- for stdout) and end; with -t, at the end of that time' -r -F
complete -c conf-view -s o -l output -d 'Write one track to a file or, with `-`, to stdout, instead of showing it' -r -F
complete -c conf-view -s f -l format -d 'In which form -o writes' -r -f -a "h264\t'H.264 as it came'
y4m\t'Uncompressed pictures'"
complete -c conf-view -l stats -d 'Statistics of each track, once a second' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c conf-view -s t -l time -d 'End after this time' -r
complete -c conf-view -l size -d 'Size of the window or the snapshot' -r
complete -c conf-view -s r -l room -d 'The room: conf://HOST[:PORT]/ROOM' -r
complete -c conf-view -l name -d 'The name that the others see [default: the login name]' -r
complete -c conf-view -l password-file -d 'The room\'s password is the first line of this file, which nobody else may read' -r -F
complete -c conf-view -l connect-timeout -d 'How long one try to connect may take' -r
complete -c conf-view -l reconnect -d 'Give up after this many tries in a row to come back; 0 never comes back [default: never gives up]' -r
complete -c conf-view -l log-file -d 'Write the log to a file instead of stderr (-: stderr)' -r -F
complete -c conf-view -l log-format -d 'How the log is written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c conf-view -l color -d 'When to use colours on stderr' -r -f -a "auto\t'Where it makes sense'
always\t'Everywhere'
never\t'Nowhere'"
complete -c conf-view -l completions -d 'Print the completions of a shell' -r -f -a "bash\t''
elvish\t''
fish\t''
powershell\t''
zsh\t''"
complete -c conf-view -l no-window -d 'Open no window'
complete -c conf-view -l force -d 'Write binary data even to a terminal'
complete -c conf-view -s q -l quiet -d 'Say less: errors only'
complete -c conf-view -s v -l verbose -d 'Say more; twice for everything'
complete -c conf-view -l no-input -d 'Never ask anything'
complete -c conf-view -l man -d 'Print the manual page'
complete -c conf-view -s h -l help -d 'Print help (see more with \'--help\')'
complete -c conf-view -s V -l version -d 'Print version'
